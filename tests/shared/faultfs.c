/* Stands between a program and its disk, by LD_PRELOAD: lets chosen calls fail, and writes down what was written
 * and what was synced. Only files whose path contains FAULTFS_UNDER are looked at.
 *
 * FAULTFS_CALL   sync, write or call by its own name (fsync, fdatasync, sync_file_range, pwrite): what fails
 * FAULTFS_AT     the first call of that kind that fails, from 1
 * FAULTFS_TIMES  how many fail from there on (default 1)
 * FAULTFS_ERRNO  what they answer
 * FAULTFS_ARM    calls are counted, and fail, only while this file exists
 * FAULTFS_DELAY_MS  instead of failing, every such call takes so much longer
 * FAULTFS_TRACE  the file to write the calls to: see trace() for the form
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long seen;
static int trace_fd = -1;

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

static int is_under(const char *path) {
  const char *under = getenv("FAULTFS_UNDER");
  const char *trace = getenv("FAULTFS_TRACE");
  if (trace && !strcmp(path, trace)) return 0;
  return under && strstr(path, under) != NULL;
}

static int path_of(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return is_under(path);
}

/* Whether this call fails; sets errno. The lock is held. */
static int fails(const char *kind, const char *name) {
  const char *call = getenv("FAULTFS_CALL"), *at = getenv("FAULTFS_AT"), *times = getenv("FAULTFS_TIMES");
  const char *arm = getenv("FAULTFS_ARM");
  if (!call || (strcmp(call, kind) && strcmp(call, name))) return 0;
  if (arm && access(arm, F_OK)) return 0;
  const char *delay = getenv("FAULTFS_DELAY_MS");
  if (delay) {
    usleep(atol(delay) * 1000);
    return 0;
  }
  long first = at ? atol(at) : 1, last = first + (times ? atol(times) : 1) - 1;
  seen++;
  if (seen < first || seen > last) return 0;
  errno = atoi(getenv("FAULTFS_ERRNO"));
  return 1;
}

/* One call: what ('w'rite, 's'ync, 't'runcate, 'c'reate, 'r'ename, 'u'nlink), the length of the path, the offset (the new
 * length for 't'), the length of the data, path, data (the new path for 'r'). Numbers are little-endian. */
static void trace(char what, const char *path, uint64_t offset, const void *data, uint32_t length) {
  if (trace_fd < 0) {
    const char *file = getenv("FAULTFS_TRACE");
    if (!file) return;
    trace_fd = REAL(open64)(file, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (trace_fd < 0) abort();
  }
  uint32_t path_length = strlen(path);
  char head[17];
  head[0] = what;
  memcpy(head + 1, &path_length, 4);
  memcpy(head + 5, &offset, 8);
  memcpy(head + 13, &length, 4);
  if (REAL(write)(trace_fd, head, sizeof head) != sizeof head) abort();
  if (REAL(write)(trace_fd, path, path_length) != path_length) abort();
  if (length && REAL(write)(trace_fd, data, length) != (ssize_t)length) abort();
}

static int opened(int fd, const char *path, int flags) {
  char full[4096];
  if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)) && is_under(path) && path_of(fd, full, sizeof full)) {
    pthread_mutex_lock(&lock);
    trace('c', full, (flags & O_TRUNC) != 0, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return fd;
}

#define MODE(flags) mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(REAL(open)(path, flags, mode), path, flags); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(REAL(open64)(path, flags, mode), path, flags); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(REAL(openat)(at, path, flags, mode), path, flags); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(REAL(openat64)(at, path, flags, mode), path, flags); }

#define WRITE(name, real_call, at) \
  char path[4096]; \
  if (!path_of(fd, path, sizeof path)) return real_call; \
  pthread_mutex_lock(&lock); \
  ssize_t done = -1; \
  if (!fails("write", name)) { \
    done = real_call; \
    int error = errno; \
    if (done > 0) trace('w', path, at, data, done); \
    errno = error; \
  } \
  int error = errno; \
  pthread_mutex_unlock(&lock); \
  errno = error; \
  return done;

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { WRITE("pwrite", REAL(pwrite)(fd, data, size, offset), offset) }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { WRITE("pwrite", REAL(pwrite64)(fd, data, size, offset), offset) }
ssize_t write(int fd, const void *data, size_t size) { WRITE("write", REAL(write)(fd, data, size), lseek(fd, 0, SEEK_CUR) - done) }

#define CALL(kind, name, real_call, what, offset) \
  char path[4096]; \
  if (!path_of(fd, path, sizeof path)) return real_call; \
  pthread_mutex_lock(&lock); \
  int done = -1; \
  if (!fails(kind, name)) { \
    done = real_call; \
    if (done == 0 && what) trace(what, path, offset, NULL, 0); \
  } \
  int error = errno; \
  pthread_mutex_unlock(&lock); \
  errno = error; \
  return done;

int fsync(int fd) { CALL("sync", "fsync", REAL(fsync)(fd), 's', 0) }
int fdatasync(int fd) { CALL("sync", "fdatasync", REAL(fdatasync)(fd), 's', 0) }
/* Survives the death of the process and not the loss of power, so it is no sync to the trace. */
int sync_file_range(int fd, off64_t from, off64_t bytes, unsigned flags) { CALL("sync", "sync_file_range", REAL(sync_file_range)(fd, from, bytes, flags), 0, 0) }
int ftruncate(int fd, off_t length) { CALL("write", "ftruncate", REAL(ftruncate)(fd, length), 't', length) }
int ftruncate64(int fd, off64_t length) { CALL("write", "ftruncate", REAL(ftruncate64)(fd, length), 't', length) }

int rename(const char *from, const char *to) {
  pthread_mutex_lock(&lock);
  int done = REAL(rename)(from, to), error = errno;
  if (done == 0 && is_under(from)) trace('r', from, 0, to, strlen(to));
  pthread_mutex_unlock(&lock);
  errno = error;
  return done;
}

int unlink(const char *path) {
  pthread_mutex_lock(&lock);
  int done = REAL(unlink)(path), error = errno;
  if (done == 0 && is_under(path)) trace('u', path, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = error;
  return done;
}
