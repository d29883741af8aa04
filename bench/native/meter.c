/*
 * Runs CNI plugins as a container runtime does and measures each run from the fork to the end of the process.
 *
 *     meter <network namespace> <how many at a time>  < jobs  > results
 *
 * A job is "<environment lines> <bytes of stdin> <path>\n", its environment a line each, its stdin. A result is
 * "<wall ns> <CPU us> <exit status> <bytes of stdout>\n" and stdout, in the order of the jobs; the last line is the wall
 * time of all of them. It is a C program because a fork of a process as large as Node costs more than what is measured.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct job {
  char *path, **environment;
  int input, output, status;
  pid_t pid;
  long long start, wall, cpu;
};

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void start(struct job *job) {
  posix_spawn_file_actions_t actions;
  char *arguments[] = {job->path, NULL};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, job->input, 0);
  posix_spawn_file_actions_adddup2(&actions, job->output, 1);
  job->start = now();
  if (posix_spawn(&job->pid, job->path, &actions, NULL, arguments, job->environment) != 0) die(job->path);
  posix_spawn_file_actions_destroy(&actions);
}

static void reap(struct job *jobs, int count) {
  struct rusage usage;
  int status;
  pid_t pid = wait4(-1, &status, 0, &usage);
  long long end = now();
  if (pid < 0) die("wait4");
  for (int i = 0; i < count; i++) {
    if (jobs[i].pid != pid) continue;
    jobs[i].wall = end - jobs[i].start;
    jobs[i].cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    jobs[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

static struct job *read_jobs(int *count) {
  struct job *jobs = NULL;
  char *line = NULL;
  size_t room = 0;
  int variables, bytes, at;
  for (*count = 0; getline(&line, &room, stdin) > 0; ++*count) {
    if (sscanf(line, "%d %d %n", &variables, &bytes, &at) != 2) die("a job that is none");
    jobs = realloc(jobs, (*count + 1) * sizeof *jobs);
    struct job *job = &jobs[*count];
    memset(job, 0, sizeof *job);
    job->path = strdup(line + at);
    job->path[strcspn(job->path, "\n")] = 0;
    job->environment = calloc(variables + 1, sizeof(char *));
    for (int i = 0; i < variables; i++) {
      if (getline(&line, &room, stdin) < 0) die("the environment ends");
      line[strcspn(line, "\n")] = 0;
      job->environment[i] = strdup(line);
    }
    char *text = malloc(bytes + 1);
    job->input = memfd_create("stdin", MFD_CLOEXEC);
    job->output = memfd_create("stdout", MFD_CLOEXEC);
    if (job->input < 0 || job->output < 0) die("memfd_create");
    if (fread(text, 1, bytes, stdin) != (size_t)bytes || write(job->input, text, bytes) != bytes) die("stdin of a job");
    lseek(job->input, 0, SEEK_SET);
    free(text);
  }
  return jobs;
}

int main(int argc, char **argv) {
  int count, running = 0;
  struct job *jobs = read_jobs(&count);
  int namespace = argc == 3 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
  if (namespace < 0 || setns(namespace, CLONE_NEWNET) != 0) die("the network namespace");
  int most = atoi(argv[2]);
  long long begin = now();
  for (int i = 0; i < count; i++) {
    while (running >= most) reap(jobs, i), running--;
    start(&jobs[i]), running++;
  }
  while (running-- > 0) reap(jobs, count);
  long long all = now() - begin;
  for (int i = 0; i < count; i++) {
    struct stat at;
    if (fstat(jobs[i].output, &at) != 0) die("fstat");
    char *text = malloc(at.st_size + 1);
    if (pread(jobs[i].output, text, at.st_size, 0) != at.st_size) die("stdout of a job");
    printf("%lld %lld %d %lld\n", jobs[i].wall, jobs[i].cpu, jobs[i].status, (long long)at.st_size);
    fwrite(text, 1, at.st_size, stdout);
    free(text);
  }
  printf("%lld\n", all);
  return 0;
}
