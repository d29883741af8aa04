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
 * It allocates nothing, opens nothing and takes well under a millisecond. `run` is the only way out so far;
 * a plugin that first asks a listening agent would be tried before it, in main().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGUMENTS 1024

static const char PLUGIN[] = "skylane";
static const char AGENT[] = "skylane-agent";
/* Another name of the plugin: runtimes call it for every pod, and hosts without any CNI plugin have none. */
static const char LOOPBACK[] = "loopback";

extern char **environ;

/* The CNI error code of a broken installation: codes from 100 are the plugin's own (CNI 1.1.0, section 5). */
static const int CODE_INSTALLATION = 100;

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
  static char *arguments[MAX_ARGUMENTS + 8];
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
  if (strcmp(name, AGENT) == 0) arguments[n++] = "--max-semi-space-size=2";
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

int main(int argc, char **argv) {
  static char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length > 0) self[length] = '\0';
  else if (argc > 0 && snprintf(self, sizeof self, "%s", argv[0]) >= (int)sizeof self) self[0] = '\0';

  char *slash = strrchr(self, '/');
  if (!slash) return fail(PLUGIN, "Cannot find the installation from", argc > 0 ? argv[0] : "an empty name", ENOENT);
  *slash = '\0';
  const char *name = slash + 1;
  return run(self, strcmp(name, LOOPBACK) == 0 ? PLUGIN : name, argc, argv);
}
