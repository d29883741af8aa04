/*
 * Traffic between two namespaces over TCP, measured where it is received.
 *
 *     flow serve <address> <port>                       answers until it is killed
 *     flow stream <address> <port> <milliseconds>       prints "<bytes the other side received> <nanoseconds>"
 *     flow request <address> <port> <milliseconds>      prints "<round trips of one byte> <nanoseconds>"
 *     flow accept <address> <port>                      takes connections and ends them until it is killed
 *     flow connect <address> <port> <milliseconds>      prints "<connections to it, one after the other> <nanoseconds>"
 *     flow reply <address> <port>                       the same as accept, with a byte for a byte before the end
 *     flow exchange <address> <port> <milliseconds>     prints "<connections to it, with a byte each way> <nanoseconds>"
 *
 * The mode is the first byte of a connection. Both ends run on the first processor and before other work, so that what is
 * measured is the work that a byte or a request costs in all, not where the scheduler put whom. Congestion control is reno:
 * it is in every kernel, and does not pace by the clock as bbr does. Own program, because iperf3 has no request/response and netperf is
 * in no Debian's main archive.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[128 * 1024];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void settle(void) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  if (sched_setaffinity(0, sizeof first, &first) != 0) die("the processor");
  if (setpriority(PRIO_PROCESS, 0, -19) != 0) die("the priority");
}

/* Where connections are taken, of either family. */
static struct sockaddr_storage at;
static socklen_t at_size;

static void where(const char *address, int port) {
  struct sockaddr_in *four = (struct sockaddr_in *)&at;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&at;
  if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    at_size = sizeof *four;
  } else if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    at_size = sizeof *six;
  } else {
    die("the address");
  }
}

static int tcp(void) {
  int fd = socket(at.ss_family, SOCK_STREAM, 0);
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) != 0) die("congestion control");
  return fd;
}

static void answer(int peer) {
  char mode;
  long long bytes = 0;
  ssize_t got;
  if (read(peer, &mode, 1) != 1) exit(0);
  if (mode == 'r') {
    while (read(peer, buffer, 1) == 1)
      if (write(peer, buffer, 1) != 1) break;
    exit(0);
  }
  while ((got = read(peer, buffer, sizeof buffer)) > 0) bytes += got;
  if (write(peer, &bytes, sizeof bytes) != sizeof bytes) die("the count");
  exit(0);
}

static int listening(void) {
  int yes = 1, listener = tcp();
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&at, at_size) != 0 || listen(listener, 8) != 0) die("listen");
  puts("listening");
  fflush(stdout);
  return listener;
}

static void accept_all(int reply) {
  for (int listener = listening();;) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) die("accept");
    if (reply && (read(peer, buffer, 1) != 1 || write(peer, buffer, 1) != 1)) die("a byte's reply");
    close(peer);
  }
}

/* Each ends with a reset, which leaves nothing behind, and when the other side has ended it: then it was accepted. */
static void connect_all(long long length, int exchange) {
  struct linger reset = {.l_onoff = 1};
  long long total = 0, begin = now();
  while (now() - begin < length) {
    int to = tcp();
    if (connect(to, (struct sockaddr *)&at, at_size) != 0) die("connect");
    if (exchange && (write(to, buffer, 1) != 1 || read(to, buffer, 1) != 1)) die("a byte and its reply");
    if (read(to, buffer, 1) != 0) die("the end of a connection");
    setsockopt(to, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(to);
    total++;
  }
  printf("%lld %lld\n", total, now() - begin);
}

static void serve(void) {
  int yes = 1, listener = listening();
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) die("accept");
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fork() == 0) {
      // The other end may be gone without a word, and whoever began all this waits for the last of us.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      answer(peer);
    }
    close(peer);
  }
}

int main(int argc, char **argv) {
  if (argc < 4) die("arguments");
  where(argv[2], atoi(argv[3]));
  settle();
  if (strcmp(argv[1], "serve") == 0) serve();
  if (strcmp(argv[1], "accept") == 0) accept_all(0);
  if (strcmp(argv[1], "reply") == 0) accept_all(1);
  long long length = (argc > 4 ? atoll(argv[4]) : 1000) * 1000000, total = 0;
  if (strcmp(argv[1], "connect") == 0) return connect_all(length, 0), 0;
  if (strcmp(argv[1], "exchange") == 0) return connect_all(length, 1), 0;
  int yes = 1, request = strcmp(argv[1], "request") == 0, to = tcp();
  if (connect(to, (struct sockaddr *)&at, at_size) != 0) die("connect");
  setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (write(to, request ? "r" : "s", 1) != 1) die("the mode");
  long long begin = now();
  while (now() - begin < length) {
    if (write(to, buffer, request ? 1 : sizeof buffer) < 1) die("write");
    if (request && read(to, buffer, 1) != 1) die("read");
    total++;
  }
  if (!request) {
    shutdown(to, SHUT_WR);
    if (read(to, &total, sizeof total) != sizeof total) die("the count");
  }
  printf("%lld %lld\n", total, now() - begin);
  return 0;
}
