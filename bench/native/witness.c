/*
 * Watches what comes to a machine and what becomes of it, on one clock: the moments at which packets with data from a
 * TCP port arrive (the kernel's own timestamps), and at which routes appear.
 *
 *     witness <device> <TCP port>
 *
 * Prints "packet <ns> <bytes of data>" and "route <ns> <address>/<length>" until it is ended. It is a C program of its own
 * so that nobody's event loop is between the event and its time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 18];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static long long nanoseconds(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }

static int packets(const char *device) {
  int s = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP)), on = 1, room = 1 << 24;
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex(device)};
  if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof at) != 0) die("packet socket");
  if (setsockopt(s, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) die("SO_TIMESTAMPNS");
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  return s;
}

static int routes(void) {
  int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), room = 1 << 24;
  struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_ROUTE};
  if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof at) != 0) die("netlink socket");
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  return s;
}

static void packet(int s, int port) {
  char control[256];
  struct sockaddr_ll from;
  struct iovec part = {buffer, sizeof buffer};
  struct msghdr message = {&from, sizeof from, &part, 1, control, sizeof control, 0};
  ssize_t size = recvmsg(s, &message, MSG_DONTWAIT);
  if (size < (ssize_t)sizeof(struct iphdr) || from.sll_pkttype == PACKET_OUTGOING) return;
  struct iphdr *ip = (struct iphdr *)buffer;
  struct tcphdr *tcp = (struct tcphdr *)(buffer + ip->ihl * 4);
  if (ip->protocol != IPPROTO_TCP || ntohs(tcp->source) != port) return;
  long data = (long)size - ip->ihl * 4 - tcp->doff * 4;
  for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
    struct timespec time;
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_TIMESTAMPNS || data <= 0) continue;
    memcpy(&time, CMSG_DATA(one), sizeof time);
    printf("packet %lld %ld\n", nanoseconds(time), data);
  }
}

static void route(int s) {
  struct timespec time;
  int size = (int)recv(s, buffer, sizeof buffer, MSG_DONTWAIT);
  clock_gettime(CLOCK_REALTIME, &time);
  for (struct nlmsghdr *one = (struct nlmsghdr *)buffer; size > 0 && NLMSG_OK(one, (unsigned)size); one = NLMSG_NEXT(one, size)) {
    if (one->nlmsg_type != RTM_NEWROUTE) continue;
    struct rtmsg *about = NLMSG_DATA(one);
    int left = RTM_PAYLOAD(one);
    for (struct rtattr *part = RTM_RTA(about); RTA_OK(part, left); part = RTA_NEXT(part, left)) {
      char address[INET_ADDRSTRLEN];
      if (part->rta_type != RTA_DST) continue;
      printf("route %lld %s/%d\n", nanoseconds(time), inet_ntop(AF_INET, RTA_DATA(part), address, sizeof address), about->rtm_dst_len);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct pollfd sockets[] = {{.fd = packets(argv[1]), .events = POLLIN}, {.fd = routes(), .events = POLLIN}};
  puts("ready");
  for (;;) {
    if (poll(sockets, 2, -1) < 0) die("poll");
    // Routes first: a packet has its time already.
    if (sockets[1].revents) route(sockets[1].fd);
    if (sockets[0].revents) packet(sockets[0].fd, atoi(argv[2]));
  }
}
