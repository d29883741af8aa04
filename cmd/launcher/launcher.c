/*
 * The executable behind every command of Skylane: it replaces itself by Node on the command's script.
 *
 * A container runtime calls a CNI plugin as one path and passes no arguments, so the plugin must be an
 * executable by itself; a shell script would put a shell between the runtime and us, and a "#!" line cannot
 * name an interpreter relative to the script. So one small static program is installed under each command's
 * name and finds everything from its own place:
 *
 *     <dir>/skylane  ->  <dir>/../lib/skylane/node <flags> <dir>/../lib/skylane/skylane.cjs <arguments>
 *
 * Installed on a host it has these files in .skylane/current beside it instead, or, itself in that folder, next to it.
 * Where they bring their own dynamic loader and libraries (so/, laid out for an image), Node is started through that
 * loader, so that it runs on a host with another C library, or none.
 *
 * The plugin first asks the node's agent, which is Node already running, over a Unix socket (ask(), at the end): a start of
 * Node is ten times the work of an ADD. Whatever the agent does not answer, the plugin does by itself, with the same code.
 *
 * It allocates nothing and takes well under a millisecond.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGUMENTS 1024

/* What this was compiled with, for whoever reads the executable; it is never compiled without. */
#if !defined __SSP_STRONG__ || !defined _FORTIFY_SOURCE || _FORTIFY_SOURCE < 2 || !defined __PIE__ || !defined __OPTIMIZE__
#error "see scripts/build.mjs for how to compile this: -O, PIE, stack protector, _FORTIFY_SOURCE"
#endif
#define TEXT_OF(macro) #macro
#define TEXT(macro) TEXT_OF(macro)
__attribute__((used)) static const char HARDENING[] =
    "hardening: pie=" TEXT(__PIE__) " ssp-strong=" TEXT(__SSP_STRONG__) " fortify=" TEXT(_FORTIFY_SOURCE);

static const char PLUGIN[] = "skylane";
static const char AGENT[] = "skylane-agent";
/* Another name of the plugin: runtimes call it for every pod, and hosts without any CNI plugin have none. */
static const char LOOPBACK[] = "loopback";

extern char **environ;

/* The CNI error code of a broken installation: codes from 100 are the plugin's own (CNI 1.1.0, section 5). */
static const int CODE_INSTALLATION = 100;

/* "Try again later" (CNI 1.1.0, section 5). */
static const int CODE_TRY_AGAIN = 11;

/* Ends with a message: for the plugin as a CNI error on stdout, which is all that a runtime reads. */
static int fail(const char *name, const char *what, const char *file, int error) {
  if (strcmp(name, PLUGIN) != 0) {
    fprintf(stderr, "%s: %s %s: %s. Install %s together with its lib/skylane directory.\n", name, what, file,
            strerror(error), name);
    return 1;
  }
  printf("{\"cniVersion\":\"1.1.0\",\"code\":%d,\"msg\":\"%s ", CODE_INSTALLATION, what);
  for (const char *c = file; *c; c++) {
    if (*c == '"' || *c == '\\') putchar('\\');
    putchar((unsigned char)*c < ' ' ? '?' : *c);
  }
  printf("\",\"details\":\"%s. Skylane's installation on this node is incomplete: bin/skylane needs lib/skylane/node and "
         "lib/skylane/skylane.cjs beside bin/. Install it again, for example by restarting the node's skylane-agent pod.\"}\n",
         strerror(error));
  return 1;
}

/* Where an executable's own files may be, from its directory: as built, as installed on a host, beside it. */
static const char *const HOMES[] = {"/../lib/skylane", "/.skylane/current", ""};

/* Finds the folder that holds the script of that name; the first one, which the error will name, if none does. */
static int find_home(const char *dir, const char *name, char *home, size_t size) {
  static char script[PATH_MAX];
  for (size_t i = 0; i < sizeof HOMES / sizeof *HOMES; i++) {
    if (snprintf(home, size, "%s%s", dir, HOMES[i]) >= (int)size ||
        snprintf(script, sizeof script, "%s/%s.cjs", home, name) >= (int)sizeof script)
      return -1;
    if (access(script, R_OK) == 0) return 0;
  }
  return snprintf(home, size, "%s%s", dir, HOMES[0]) >= (int)size ? -1 : 0;
}

/* Becomes Node on the script of that name; returns only on failure. */
static int run(const char *dir, const char *name, int argc, char **argv) {
  static char home[PATH_MAX], node[PATH_MAX], script[PATH_MAX], libraries[PATH_MAX], loader[PATH_MAX], cache[PATH_MAX];
  static char *arguments[MAX_ARGUMENTS + 9];
  int n = 0;

  if (find_home(dir, name, home, sizeof home) != 0 ||
      snprintf(node, sizeof node, "%s/node", home) >= (int)sizeof node ||
      snprintf(script, sizeof script, "%s/%s.cjs", home, name) >= (int)sizeof script ||
      snprintf(libraries, sizeof libraries, "%s/so", home) >= (int)sizeof libraries ||
      snprintf(loader, sizeof loader, "%s/so/loader", home) >= (int)sizeof loader)
    return fail(name, "The path of the installation is too long:", dir, ENAMETOOLONG);
  if (argc > MAX_ARGUMENTS) return fail(name, "Cannot start", node, E2BIG);

  const char *program = node;
  if (access(loader, X_OK) == 0) {
    program = loader;
    arguments[n++] = loader;
    arguments[n++] = "--library-path";
    arguments[n++] = libraries;
  }
  arguments[n++] = node;
  /* node:ffi says on every start that it is experimental. */
  arguments[n++] = "--disable-warning=ExperimentalWarning";
  /* The plugin makes less than 8 MB of objects in its life: enough room saves it every garbage collection. */
  if (strcmp(name, PLUGIN) == 0) arguments[n++] = "--min-semi-space-size=8";
  /* An agent's work is small and many; a young generation of 16 MB, three times over, would stay once it was filled. */
  if (strcmp(name, AGENT) == 0) {
    arguments[n++] = "--max-semi-space-size=2";
    /* Compiling with all of V8's skill takes a sixth of a start among thousands of nodes, which work as little as an agent's never pays back. */
    arguments[n++] = "--max-opt=2";
    /* The agent collects by itself when it has left garbage (src/observe/memory.ts): V8's own rounds half a minute after it find none. */
    arguments[n++] = "--no-memory-reducer";
  }
  arguments[n++] = script;
  for (int i = 1; i < argc; i++) arguments[n++] = argv[i];
  arguments[n] = NULL;

  if (strcmp(name, PLUGIN) == 0) {
    /* Whatever the runtime was started with is not meant for its plugins. */
    unsetenv("NODE_OPTIONS");
    unsetenv("NODE_PATH");
    unsetenv("NODE_DEBUG");
    unsetenv("NODE_V8_COVERAGE");
  } else {
    /* What V8 made of the script when it was built, or the first time that it ran: a third of the start is compiling. */
    if (snprintf(cache, sizeof cache, "%s/cache", home) < (int)sizeof cache) {
      setenv("NODE_COMPILE_CACHE", cache, 0);
      setenv("NODE_COMPILE_CACHE_PORTABLE", "1", 0);
    }
  }
  if (strcmp(name, AGENT) == 0) {
    setenv("MALLOC_ARENA_MAX", "1", 0);
    /* Given, these no longer grow by themselves up to 64 MB of freed memory that is kept. */
    setenv("MALLOC_TRIM_THRESHOLD_", "131072", 0);
    setenv("MALLOC_MMAP_THRESHOLD_", "131072", 0);
    setenv("UV_THREADPOOL_SIZE", "8", 0);
  }
  if (access(script, R_OK) != 0) return fail(name, "Cannot read", script, errno);
  if (access(node, X_OK) != 0) return fail(name, "Cannot start", node, errno);
  execve(program, arguments, environ);
  return fail(name, "Cannot start", program, errno);
}

/*
 * Asking the agent. A request is a head, the CNI_* variables (each ended by a zero byte) and the configuration; the agent
 * says at once whether it takes it, and later the exit status, the length of the answer, and the answer:
 *
 *     launcher  'S' and the open sandbox, where there is one                   SCM_RIGHTS
 *     launcher  "skylane3" u32 u32 u64 u64 key variables configuration         lengths; our network namespace
 *     agent     'A' key | 'D'                                                  accepted, or declined: do it yourself
 *     agent     HOLD u32 name, and an open namespace | RELEASE u32 name         any number of times, each answered by
 *     launcher  u32                                                            an errno, 0 when it is done
 *     agent     u32 u32 answer                                                 exit status, length
 *     launcher  'K'                                                            the runtime has the answer
 *
 * Numbers are in the byte order of the machine, which both ends share. The agent, in a container, may see another namespace
 * or none under the path of the sandbox, so it is given the sandbox itself; ours goes by device and inode number, and must be the
 * agent's. Each end shows half of a key that only root of the host can read, in a file of the data directory: a container that has
 * the run directory mounted, and so the socket, is neither of the two. Without the 'K' the agent takes an ADD back,
 * as the plugin does when it cannot write. A mount that the agent made in its container would end with it, so the network
 * namespaces of pod networks get their names from here: a bind mount under /run/netns, as ip-netns(8) makes them. When the agent dies in the middle, the request is served here under the same
 * SKYLANE_REQUEST, by which the plugin knows a half-made attachment for its own and takes it back first.
 */
#define MAX_CONFIGURATION (1024 * 1024)
#define MAX_VARIABLES (64 * 1024)
/* How long the agent may take until it has accepted; a stuck one must not keep pods waiting. */
static const long long ACCEPT_MS = 2000;
/* How long it may take from then on. Nobody else may work on the attachment meanwhile, so this is an error, not a detour. */
static const long long ANSWER_MS = 110 * 1000;
/* How long VERSION waits for its stdin. */
static const long long VERSION_MS = 300;
/* How long a runtime may leave our answer unread. */
static const long long WRITE_MS = 5000;

static const char DEFAULT_RUN_DIR[] = "/run/skylane";
static const char DEFAULT_DATA_DIR[] = "/var/lib/cni/skylane";
static const char REQUEST[] = "SKYLANE_REQUEST";

/* Half of the key: ours, then the agent's. */
#define HALF 32
struct key {
  char ours[HALF], agents[HALF];
};

struct head {
  char magic[8];
  uint32_t variables, configuration;
  uint64_t own_device, own_inode;
  char key[HALF];
};

/* What stdin held, and one byte more than is accepted so that a larger request is seen to be one. */
static char configuration[MAX_CONFIGURATION + 1];
static size_t configuration_length;

static long long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Whether a descriptor became ready, or hung up, in time. */
static int ready(int fd, short events, long long until) {
  for (;;) {
    long long left = until - now_ms();
    if (left <= 0) return 0;
    struct pollfd one = {.fd = fd, .events = events};
    int n = poll(&one, 1, (int)left);
    if (n > 0) return 1;
    if (n < 0 && errno != EINTR) return 0;
  }
}

static int send_all(int fd, const void *data, size_t length, long long until) {
  for (const char *at = data; length > 0;) {
    ssize_t n = send(fd, at, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) at += n, length -= n;
    else if (errno == EAGAIN ? !ready(fd, POLLOUT, until) : errno != EINTR) return 0;
  }
  return 1;
}

/* Reads so many bytes. Returns 0 with errno ETIMEDOUT when they did not come in time, ECONNRESET when they never will. */
static int receive_all(int fd, void *data, size_t length, long long until) {
  for (char *at = data; length > 0;) {
    ssize_t n = recv(fd, at, length, MSG_DONTWAIT);
    if (n > 0) at += n, length -= n;
    else if (n < 0 && errno == EINTR) continue;
    else if (n < 0 && errno == EAGAIN) {
      if (ready(fd, POLLIN, until)) continue;
      errno = ETIMEDOUT;
      return 0;
    } else {
      errno = ECONNRESET;
      return 0;
    }
  }
  return 1;
}

/*
 * Reads stdin to its end. VERSION needs nothing of it and is asked by hand as well, from a terminal or with a stdin that nobody
 * closes: then what has come by now does.
 */
static void read_configuration(void) {
  int version = strcmp(getenv("CNI_COMMAND"), "VERSION") == 0;
  long long until = now_ms() + VERSION_MS;
  while (configuration_length < sizeof configuration) {
    if (version && !ready(0, POLLIN, until)) return;
    ssize_t n = read(0, configuration + configuration_length, sizeof configuration - configuration_length);
    if (n > 0) configuration_length += n;
    else if (n == 0 || errno != EINTR) return;
  }
}

/* Gives the plugin behind us the stdin that was read, from its beginning. */
static int restore_stdin(void) {
  int fd = memfd_create("stdin", 0);
  if (fd < 0) return 0;
  for (size_t at = 0; at < configuration_length;) {
    ssize_t n = write(fd, configuration + at, configuration_length - at);
    if (n > 0) at += n;
    else if (errno != EINTR) return 0;
  }
  return lseek(fd, 0, SEEK_SET) == 0 && dup2(fd, 0) == 0 && (fd == 0 || close(fd) == 0);
}

/*
 * A file of the agent's in a directory that the configuration names under `key`, or the default one. This only looks for the
 * key; the agent reads the configuration for what it says and declines one that is not its own.
 */
static int find_file(char *path, size_t size, const char *key, const char *dir, const char *name) {
  const char *end = configuration + configuration_length;
  size_t length = strlen(dir);
  const char *at = memmem(configuration, configuration_length, key, strlen(key));
  if (at) {
    at += strlen(key);
    while (at < end && (*at == ':' || *at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    if (at < end && *at++ == '"') {
      const char *close = memchr(at, '"', end - at);
      if (!close || memchr(at, '\\', close - at)) return 0;
      if (close > at) dir = at, length = close - at;
    }
  }
  if (length >= size) return 0;
  int n = snprintf(path, size, "%.*s/%s", (int)length, dir, name);
  return *dir == '/' && n > 0 && (size_t)n < size;
}

/* Reads the key, from a file that nobody but its owner can. */
static int read_key(struct key *key) {
  static char path[PATH_MAX];
  struct stat stat;
  if (!find_file(path, sizeof path, "\"dataDir\"", DEFAULT_DATA_DIR, "launcher.key")) return 0;
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return 0;
  int is = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && (stat.st_uid == 0 || stat.st_uid == geteuid()) &&
           (stat.st_mode & 077) == 0 && read(fd, key, sizeof *key) == sizeof *key;
  close(fd);
  return is;
}

/* Sends one byte, and the sandbox with it if it can be opened: a path from a request may lead to anything. */
static int send_sandbox(int fd) {
  const char *path = getenv("CNI_NETNS");
  int sandbox = path && *path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof sandbox)];
  } control = {0};
  struct iovec byte = {.iov_base = "S", .iov_len = 1};
  struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1};
  if (sandbox >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof sandbox);
    memcpy(CMSG_DATA(&control.header), &sandbox, sizeof sandbox);
  }
  int sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
  if (sandbox >= 0) close(sandbox);
  return sent;
}

/* Sends the request. Returns the connection, or -1 where nobody listens. */
static int send_request(struct key *key, long long until) {
  static char variables[MAX_VARIABLES];
  struct sockaddr_un address = {0};
  struct head head = {.magic = {'s', 'k', 'y', 'l', 'a', 'n', 'e', '3'}, .configuration = configuration_length};
  for (char **one = environ; *one; one++) {
    if (strncmp(*one, "CNI_", 4) != 0 && strncmp(*one, REQUEST, strlen(REQUEST)) != 0) continue;
    size_t length = strlen(*one) + 1;
    if (length > sizeof variables - head.variables) return -1;
    memcpy(variables + head.variables, *one, length);
    head.variables += length;
  }
  struct stat own;
  if (stat("/proc/self/ns/net", &own) != 0) return -1;
  head.own_device = own.st_dev;
  head.own_inode = own.st_ino;
  address.sun_family = AF_UNIX;
  if (!find_file(address.sun_path, sizeof address.sun_path, "\"runDir\"", DEFAULT_RUN_DIR, "cni.sock") || !read_key(key))
    return -1;
  memcpy(head.key, key->ours, HALF);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  struct ucred peer;
  socklen_t size = sizeof peer;
  /* The configuration may hold secrets of other plugins, and the answer decides about a pod. */
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == geteuid()) &&
      send_sandbox(fd) && send_all(fd, &head, sizeof head, until) && send_all(fd, variables, head.variables, until) &&
      send_all(fd, configuration, configuration_length, until))
    return fd;
  close(fd);
  return -1;
}

/* Whether the agent took the request, and is the agent. Once this has said no, the agent can no longer begin. */
static int accepted(int fd, const struct key *key, long long until) {
  struct {
    char word, key[HALF];
  } verdict = {0};
  if (receive_all(fd, &verdict.word, 1, until) && verdict.word != 'A') return 0;
  /* Sent in one piece, so the rest is there. Somebody else who listens under this name has nothing of ours to take back. */
  if (verdict.word == 'A') return receive_all(fd, verdict.key, HALF, until) && memcmp(verdict.key, key->agents, HALF) == 0;
  if (errno != ETIMEDOUT) return 0;
  /* From here on the agent's 'A' cannot be sent any more, but one may have been on its way. */
  shutdown(fd, SHUT_RD);
  if (recv(fd, &verdict, sizeof verdict, MSG_DONTWAIT) != sizeof verdict || verdict.word != 'A' ||
      memcmp(verdict.key, key->agents, HALF) != 0)
    return 0;
  /* It finds out that nobody takes its answer, takes everything back and hangs up. */
  ready(fd, 0, now_ms() + ANSWER_MS);
  return 0;
}

/* Writes to stdout, which may be a pipe that somebody else made non-blocking. */
static int write_answer(const char *data, size_t length) {
  long long until = now_ms() + WRITE_MS;
  while (length > 0) {
    ssize_t n = write(1, data, length);
    if (n > 0) data += n, length -= n;
    else if (n < 0 && errno == EAGAIN ? !ready(1, POLLOUT, until) : errno != EINTR) return 0;
  }
  return 1;
}

/* The agent works on the attachment, and will until the kernel lets it: the runtime must come again. */
static int still_working(void) {
  printf("{\"cniVersion\":\"1.1.0\",\"code\":%d,\"msg\":\"skylane-agent on this node accepted %s but did not finish it within %lld "
         "seconds\",\"details\":\"See the agent's log and whether the node's kernel is overloaded. What was begun is taken back.\"}\n",
         CODE_TRY_AGAIN, getenv("CNI_COMMAND"), ANSWER_MS / 1000);
  return 1;
}

/* Where named network namespaces are, and what those of pod networks are called: the agent's are no other. */
#define NETNS_DIR "/run/netns"
#define SPACE "sky-"
#define MAX_SPACE 44

static int is_space(const char *name) {
  if (strncmp(name, SPACE, strlen(SPACE)) != 0 || name[strlen(SPACE)] == '\0') return 0;
  return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name);
}

/* Gives an open network namespace a name, which keeps it. Returns an errno; one that has the name already is fine. */
static int hold(const char *path, int namespace) {
  char from[32];
  struct stat there, wanted;
  if (fstat(namespace, &wanted) != 0) return errno;
  if (stat(path, &there) == 0 && there.st_dev == wanted.st_dev) return there.st_ino == wanted.st_ino ? 0 : EEXIST;
  if (mkdir(NETNS_DIR, 0755) != 0 && errno != EEXIST) return errno;
  int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
  if (file < 0) return errno;
  close(file);
  snprintf(from, sizeof from, "/proc/self/fd/%d", namespace);
  return mount(from, path, "none", MS_BIND, NULL) == 0 ? 0 : errno;
}

/* Takes a name away; whoever still has the namespace open keeps it. Returns an errno; one that is gone already is fine. */
static int release_name(const char *path) {
  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT) return errno;
  return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
}

/* What the agent says: two numbers, and an open file with them where it hands one over. */
struct said {
  uint32_t what, length;
};
enum { HOLD = 0x484f4c44, RELEASE = 0x52454c53 };

static int receive_said(int fd, struct said *said, int *passed, long long until) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof *passed)];
  } control;
  struct iovec part = {.iov_base = said, .iov_len = sizeof *said};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  *passed = -1;
  while (ready(fd, POLLIN, until)) {
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) {
      errno = ECONNRESET;
      return 0;
    }
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights && rights->cmsg_type == SCM_RIGHTS) memcpy(passed, CMSG_DATA(rights), sizeof *passed);
    return receive_all(fd, (char *)said + n, sizeof *said - n, until);
  }
  errno = ETIMEDOUT;
  return 0;
}

/* Does what the agent asks for in between, until it answers. Returns 0 with an errno when it says no more. */
static int wait_for_answer(int fd, struct said *answer, long long until) {
  static char name[MAX_SPACE + 1], path[sizeof NETNS_DIR + MAX_SPACE + 1];
  int namespace;
  while (receive_said(fd, answer, &namespace, until)) {
    if (answer->what != HOLD && answer->what != RELEASE) return 1;
    uint32_t result = EINVAL;
    if (answer->length > MAX_SPACE || !receive_all(fd, name, answer->length, until)) return errno = ECONNRESET, 0;
    name[answer->length] = '\0';
    if (is_space(name)) {
      snprintf(path, sizeof path, "%s/%s", NETNS_DIR, name);
      if (answer->what == RELEASE) result = release_name(path);
      else result = namespace >= 0 ? hold(path, namespace) : EBADF;
    }
    if (namespace >= 0) close(namespace);
    if (!send_all(fd, &result, sizeof result, until)) return errno = ECONNRESET, 0;
  }
  return 0;
}

/* Has the agent serve the request. Returns the exit status, or -1 when the plugin has to. */
static int ask(void) {
  char id[17];
  uint64_t random;
  struct said answer;
  struct key key;
  long long until = now_ms() + ACCEPT_MS;
  if (getrandom(&random, sizeof random, 0) != sizeof random) return -1;
  snprintf(id, sizeof id, "%016llx", (unsigned long long)random);
  setenv(REQUEST, id, 1);
  int fd = send_request(&key, until), status = -1;
  if (fd < 0) return -1;
  if (!accepted(fd, &key, until)) {
    close(fd);
    return -1;
  }
  until = now_ms() + ANSWER_MS;
  if (wait_for_answer(fd, &answer, until)) {
    char *text = answer.length == 0 ? NULL
                                    : mmap(NULL, answer.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED) {
      close(fd);
      return fail(PLUGIN, "Cannot hold the answer of skylane-agent from", "its socket", ENOMEM);
    }
    if (receive_all(fd, text, answer.length, until)) {
      /* A runtime that is gone is an error to write to, not a signal. */
      signal(SIGPIPE, SIG_IGN);
      if (write_answer(text, answer.length)) {
        send_all(fd, "K", 1, until);
        status = (int)answer.what;
      } else {
        fprintf(stderr, "skylane: the answer could not be written: %s; taking everything back\n", strerror(errno));
        char byte;
        shutdown(fd, SHUT_WR);
        receive_all(fd, &byte, 1, until);
        status = 1;
      }
    }
  }
  if (status < 0 && errno == ETIMEDOUT) status = still_working();
  close(fd);
  return status;
}

int main(int argc, char **argv) {
  static char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length > 0) self[length] = '\0';
  else if (argc > 0 && snprintf(self, sizeof self, "%s", argv[0]) >= (int)sizeof self) self[0] = '\0';

  char *slash = strrchr(self, '/');
  if (!slash) return fail(PLUGIN, "Cannot find the installation from", argc > 0 ? argv[0] : "an empty name", ENOENT);
  *slash = '\0';
  const char *name = strcmp(slash + 1, LOOPBACK) == 0 ? PLUGIN : slash + 1;
  if (strcmp(name, PLUGIN) == 0) {
    unsetenv(REQUEST);
    /* A runtime passes no arguments. */
    const char *command = getenv("CNI_COMMAND");
    if (argc == 1 && command && *command) {
      read_configuration();
      int status = configuration_length <= MAX_CONFIGURATION ? ask() : -1;
      if (status >= 0) return status;
      if (!restore_stdin()) return fail(name, "Cannot pass on", "the network configuration", errno);
    }
  }
  return run(self, name, argc, argv);
}
