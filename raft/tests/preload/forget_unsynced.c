/*
 * A disk that forgets what was not synced, under any program: preload this library and set
 *
 *   FORGET_UNSYNCED_DATA   the directory whose files are on that disk (absolute, exists)
 *   FORGET_UNSYNCED_DISK   where the durable image is kept (exists, same file system)
 *
 * The program works on the real files, so it reads back what it wrote, synced or not. Beside them
 * grows the image: what would be there after a loss of power.
 *
 *   files/INODE   the content of a file when it was last synced
 *   names/INODE   the entries of a directory when it was last synced, a line each:
 *                 "f INODE NAME" or "d INODE NAME"
 *   gone/         keeps the inodes of removed files and directories, so that no number comes back
 *   spent/        the same, of those that no loss of power can bring back: nothing but the inode
 *                 is kept of them, or the disk would grow with all that was ever written
 *
 * While the list of the data directory itself is missing, the program has changed nothing yet.
 *
 * The loss of power itself is made by whoever started the program: kill it with SIGKILL, then
 * build the directory anew from the image (tests/it/forgetful_disk.rs). What is there when the
 * library is loaded first is durable.
 *
 * Modelled, after POSIX rather than after one file system:
 *  - fsync and fdatasync of a file make its content and length durable, and nothing of its name;
 *  - fsync of a directory makes its entries durable (creations, renames, removals), and nothing of
 *    what is in those files;
 *  - sync_file_range, close and rename make nothing durable; neither does syncing one file for
 *    another.
 * A sync copies what was written since the one before: a range is kept of every file that was
 * synced once, from the calls that write. What is written into the middle of such a file in another
 * way (stdio, a mapping) is not seen; what is appended is, by the length.
 *
 * A kill in the middle of a sync leaves the image between two states: a part of the range is
 * durable, as on a disk. Whether a part of what was not synced survives is decided by the builder.
 *
 * Not modelled: writes lost or reordered by the device after a sync that succeeded, torn sectors,
 * and permissions. What would make data durable in another way (O_SYNC, O_DSYNC, sync, syncfs,
 * msync) ends the program at once: better no answer than a wrong one. Calls that a program makes
 * without libc are not seen.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Room for the image's own short names behind a path. */
#define PATH_ROOM (PATH_MAX + 64)
#define COPY_BYTES (256 * 1024)
#define BUCKETS 1024

static char data[PATH_MAX];
static size_t data_length;
static char disk[PATH_MAX];
/* Two syncs at once would write the same file of the image; they wait for each other. */
static pthread_mutex_t image = PTHREAD_MUTEX_INITIALIZER;

/* A file that was synced: all that has changed since is in this range. */
struct changed {
    struct changed *next;
    ino_t inode;
    off_t begin, end;
    off_t length; /* when it was synced */
};
static struct changed *changes[BUCKETS];
/* Held for moments only: a write must not wait for a sync. */
static pthread_mutex_t changes_lock = PTHREAD_MUTEX_INITIALIZER;
static dev_t data_device;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rmdir)(const char *);
static int (*real_rename)(const char *, const char *);
static int (*real_renameat2)(int, const char *, int, const char *, unsigned);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_msync)(void *, size_t, int);
static void (*real_sync)(void);
static int (*real_syncfs)(int);

static void fail(const char *what, const char *path)
{
    dprintf(STDERR_FILENO, "forget_unsynced: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

static void refuse(const char *what)
{
    dprintf(STDERR_FILENO, "forget_unsynced: %s is not modelled\n", what);
    abort();
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        fail("find", name);
    return found;
}

/* Idempotent: constructors of other libraries may call in before ours has run. */
static void find_real(void)
{
    if (real_openat != NULL)
        return;
    real_write = next("write");
    real_pwrite = next("pwrite");
    real_writev = next("writev");
    real_pwritev = next("pwritev");
    real_ftruncate = next("ftruncate");
    real_fallocate = next("fallocate");
    real_fsync = next("fsync");
    real_fdatasync = next("fdatasync");
    real_unlink = next("unlink");
    real_unlinkat = next("unlinkat");
    real_rmdir = next("rmdir");
    real_rename = next("rename");
    real_renameat2 = next("renameat2");
    real_msync = next("msync");
    real_sync = next("sync");
    real_syncfs = next("syncfs");
    real_openat = next("openat");
}

static int active(void)
{
    find_real();
    return data_length != 0;
}

static int is_inside(const char *path)
{
    return strncmp(path, data, data_length) == 0
        && (path[data_length] == '\0' || path[data_length] == '/');
}

static void path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    out[length < 0 ? 0 : length] = '\0';
}

/* The absolute path behind what an *at call was given; false when it is not on the disk. */
static int on_disk(int directory, const char *path, char out[PATH_ROOM + PATH_MAX])
{
    char base[PATH_MAX] = "";
    if (!active() || path == NULL)
        return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_ROOM + PATH_MAX, "%s", path);
        return is_inside(out);
    }
    if (directory == AT_FDCWD) {
        if (getcwd(base, sizeof base) == NULL)
            return 0;
    } else {
        path_of(directory, base);
    }
    snprintf(out, PATH_ROOM + PATH_MAX, "%s/%s", base, path);
    return is_inside(out);
}

static void image_path(char out[PATH_ROOM], const char *part, ino_t inode, const char *ending)
{
    snprintf(out, PATH_ROOM, "%s/%s/%lu%s", disk, part, (unsigned long)inode, ending);
}

static struct changed *changed_of(ino_t inode)
{
    struct changed *found = changes[inode % BUCKETS];
    while (found != NULL && found->inode != inode)
        found = found->next;
    return found;
}

/* Remembers that a part of a file was written. A file that was never synced needs no range. */
static void note_change(ino_t inode, off_t begin, off_t end)
{
    pthread_mutex_lock(&changes_lock);
    struct changed *found = changed_of(inode);
    if (found != NULL && begin < end) {
        if (found->begin >= found->end) {
            found->begin = begin;
            found->end = end;
        } else {
            found->begin = begin < found->begin ? begin : found->begin;
            found->end = end > found->end ? end : found->end;
        }
    }
    pthread_mutex_unlock(&changes_lock);
}

/* The inode behind a descriptor, 0 when it is no file of the disk. */
static ino_t file_on_disk(int fd)
{
    struct stat status;
    if (!active() || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)
        || status.st_dev != data_device)
        return 0;
    return status.st_ino;
}

/*
 * The range to copy, which from now on counts as copied. A write that ends while it is copied is
 * noted afterwards, and copied by the next sync.
 */
static void take_range(ino_t inode, off_t length, off_t *begin, off_t *end)
{
    *begin = 0;
    *end = length;
    pthread_mutex_lock(&changes_lock);
    struct changed *found = changed_of(inode);
    if (found == NULL) {
        found = calloc(1, sizeof *found);
        if (found == NULL)
            fail("remember", "a file");
        found->inode = inode;
        found->next = changes[inode % BUCKETS];
        changes[inode % BUCKETS] = found;
    } else {
        *begin = found->begin < found->end ? found->begin : length;
        *end = found->begin < found->end ? found->end : length;
        if (length != found->length) {
            off_t from = length < found->length ? length : found->length;
            *begin = from < *begin ? from : *begin;
            *end = length;
        }
        *end = *end < length ? *end : length;
    }
    found->begin = found->end = 0;
    found->length = length;
    pthread_mutex_unlock(&changes_lock);
}

/* Writes over what is durable already, never empties it first: a kill must not lose that. */
static void save_content(int source, ino_t inode, off_t length)
{
    static char buffer[COPY_BYTES]; /* under the image's mutex */
    char path[PATH_ROOM];
    off_t at, end;
    image_path(path, "files", inode, "");
    int target = real_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (target < 0)
        fail("open", path);
    take_range(inode, length, &at, &end);
    while (at < end) {
        size_t wanted = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
        ssize_t got = pread(source, buffer, wanted, at);
        if (got < 0)
            fail("read", path);
        if (got == 0)
            break; /* shortened meanwhile: the next sync sees it */
        if (real_pwrite(target, buffer, (size_t)got, at) != got)
            fail("write", path);
        at += got;
    }
    if (real_ftruncate(target, length) != 0)
        fail("truncate", path);
    close(target);
}

/* Replaces the list as a whole. */
static void save_names(int source, ino_t inode)
{
    char path[PATH_ROOM], temporary[PATH_ROOM];
    image_path(path, "names", inode, "");
    image_path(temporary, "names", inode, ".tmp");
    DIR *entries = fdopendir(source);
    FILE *list = fopen(temporary, "w");
    if (entries == NULL || list == NULL)
        fail("list into", temporary);
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT)
                continue; /* removed meanwhile, by another thread */
            fail("look at", entry->d_name);
        }
        if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
            refuse("a file that is neither regular nor a directory");
        int kind = S_ISDIR(status.st_mode) ? 'd' : 'f';
        fprintf(list, "%c %lu %s\n", kind, (unsigned long)status.st_ino, entry->d_name);
    }
    if (fclose(list) != 0 || real_rename(temporary, path) != 0)
        fail("write", path);
    closedir(entries);
}

/* Opens again what is behind a descriptor: that may be for writing only, or at another place. */
static int reopen(int fd, int flags)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int opened = real_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC | flags);
    if (opened < 0)
        fail("open", link);
    return opened;
}

/* The inodes that some durable list names, ascending. */
struct listed {
    unsigned long *inodes;
    size_t count, room;
};

static int compare(const void *one, const void *other)
{
    unsigned long a = *(const unsigned long *)one, b = *(const unsigned long *)other;
    return (a > b) - (a < b);
}

static void read_list(struct listed *listed, int directory, const char *name)
{
    char line[PATH_ROOM], kind;
    unsigned long inode;
    int fd = real_openat(directory, name, O_RDONLY | O_CLOEXEC);
    FILE *list = fd < 0 ? NULL : fdopen(fd, "r");
    if (list == NULL)
        fail("read", name);
    while (fgets(line, sizeof line, list) != NULL) {
        if (sscanf(line, "%c %lu ", &kind, &inode) != 2)
            continue;
        if (listed->count == listed->room) {
            listed->room = listed->room == 0 ? 256 : 2 * listed->room;
            listed->inodes = realloc(listed->inodes, listed->room * sizeof *listed->inodes);
            if (listed->inodes == NULL)
                fail("remember", "a list");
        }
        listed->inodes[listed->count++] = inode;
    }
    fclose(list);
}

static struct listed read_lists(void)
{
    struct listed listed = {NULL, 0, 0};
    char path[PATH_ROOM];
    struct dirent *entry;
    snprintf(path, sizeof path, "%s/names", disk);
    DIR *lists = opendir(path);
    if (lists == NULL)
        fail("read", path);
    while ((entry = readdir(lists)) != NULL)
        /* One that was not finished, at a kill, counts for nothing. */
        if (entry->d_name[0] != '.' && strchr(entry->d_name, '.') == NULL)
            read_list(&listed, dirfd(lists), entry->d_name);
    closedir(lists);
    if (listed.count != 0)
        qsort(listed.inodes, listed.count, sizeof *listed.inodes, compare);
    return listed;
}

static int is_open(ino_t inode)
{
    struct dirent *entry;
    int found = 0;
    DIR *descriptors = opendir("/proc/self/fd");
    if (descriptors == NULL)
        fail("read", "/proc/self/fd");
    while (!found && (entry = readdir(descriptors)) != NULL) {
        struct stat status;
        found = entry->d_name[0] != '.'
            && fstatat(dirfd(descriptors), entry->d_name, &status, 0) == 0
            && status.st_dev == data_device && status.st_ino == inode;
    }
    closedir(descriptors);
    return found;
}

/*
 * Gives back the room of what has lost its last name, is in no durable list, and is not open: it
 * is gone for the program, and would be after a loss of power. None of this can change again. The
 * list of a directory that is gone goes first, and with it what it names. Under the image's mutex.
 */
static void forget_gone(void)
{
    char path[PATH_ROOM];
    struct dirent *entry;
    struct listed listed = read_lists();
    snprintf(path, sizeof path, "%s/gone", disk);
    DIR *gone = opendir(path);
    if (gone == NULL)
        fail("read", path);
    while ((entry = readdir(gone)) != NULL) {
        char kept[PATH_ROOM], spent[PATH_ROOM], image_of[PATH_ROOM];
        struct stat status;
        char *ending;
        unsigned long inode = strtoul(entry->d_name, &ending, 10);
        int directory = strcmp(ending, ".d") == 0;
        if (ending == entry->d_name
            || (listed.count != 0
                && bsearch(&inode, listed.inodes, listed.count, sizeof inode, compare) != NULL))
            continue;
        image_path(kept, "gone", inode, ending);
        image_path(spent, "spent", inode, ending);
        image_path(image_of, directory ? "names" : "files", inode, "");
        if (!directory) {
            if (lstat(kept, &status) != 0 || status.st_nlink != 1 || is_open(inode))
                continue;
            if (truncate(kept, 0) != 0)
                fail("truncate", kept);
        }
        if (real_unlink(image_of) != 0 && errno != ENOENT)
            fail("remove", image_of);
        if (real_rename(kept, spent) != 0)
            fail("rename", kept);
    }
    closedir(gone);
    free(listed.inodes);
}

static int sync_to_image(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -1;
    pthread_mutex_lock(&image);
    if (S_ISDIR(status.st_mode)) {
        save_names(reopen(fd, O_DIRECTORY), status.st_ino); /* closes it */
        forget_gone();
    } else {
        int source = reopen(fd, 0);
        save_content(source, status.st_ino, status.st_size);
        close(source);
    }
    pthread_mutex_unlock(&image);
    return 0;
}

static int is_on_disk(int fd)
{
    char path[PATH_MAX];
    if (!active())
        return 0;
    path_of(fd, path);
    return is_inside(path);
}

int fsync(int fd)
{
    return is_on_disk(fd) ? sync_to_image(fd) : real_fsync(fd);
}

int fdatasync(int fd)
{
    return is_on_disk(fd) ? sync_to_image(fd) : real_fdatasync(fd);
}

/* After a write at the descriptor's own position, which is now behind it. */
static ssize_t wrote_to(int fd, ssize_t count)
{
    ino_t inode = count > 0 ? file_on_disk(fd) : 0;
    if (inode != 0) {
        int saved = errno;
        off_t end = lseek(fd, 0, SEEK_CUR);
        note_change(inode, end < count ? 0 : end - count, end);
        errno = saved;
    }
    return count;
}

static ssize_t wrote_at(int fd, ssize_t count, off_t begin)
{
    ino_t inode = count > 0 ? file_on_disk(fd) : 0;
    if (inode != 0)
        note_change(inode, begin, begin + count);
    return count;
}

ssize_t write(int fd, const void *from, size_t count)
{
    find_real();
    return wrote_to(fd, real_write(fd, from, count));
}

ssize_t writev(int fd, const struct iovec *from, int count)
{
    find_real();
    return wrote_to(fd, real_writev(fd, from, count));
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at)
{
    find_real();
    return wrote_at(fd, real_pwrite(fd, from, count, at), at);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off_t at)
{
    return pwrite(fd, from, count, at);
}

ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at)
{
    find_real();
    return wrote_at(fd, real_pwritev(fd, from, count, at), at);
}

ssize_t pwritev64(int fd, const struct iovec *from, int count, off_t at)
{
    return pwritev(fd, from, count, at);
}

int ftruncate(int fd, off_t length)
{
    struct stat before;
    find_real();
    ino_t inode = file_on_disk(fd);
    int shortens = inode != 0 && fstat(fd, &before) == 0 && length < before.st_size;
    int result = real_ftruncate(fd, length);
    if (result == 0 && shortens)
        note_change(inode, length, before.st_size);
    return result;
}

int ftruncate64(int fd, off_t length)
{
    return ftruncate(fd, length);
}

int fallocate(int fd, int mode, off_t begin, off_t length)
{
    find_real();
    int result = real_fallocate(fd, mode, begin, length);
    /* Room alone changes nothing; holes and zeros do. */
    ino_t inode = result == 0 && (mode & ~FALLOC_FL_KEEP_SIZE) != 0 ? file_on_disk(fd) : 0;
    if (inode != 0)
        note_change(inode, begin, begin + length);
    return result;
}

int fallocate64(int fd, int mode, off_t begin, off_t length)
{
    return fallocate(fd, mode, begin, length);
}

/* Keeps the inode of a file that is about to lose a name. */
static void keep_file(const char *path)
{
    struct stat status;
    char kept[PATH_ROOM];
    if (lstat(path, &status) != 0)
        return; /* the call itself will fail, or finds nothing to replace */
    if (S_ISDIR(status.st_mode))
        return; /* an unlink of it fails; a rename onto it is refused below */
    image_path(kept, "gone", status.st_ino, "");
    if (link(path, kept) != 0 && errno != EEXIST)
        fail("keep", path);
}

static int is_empty(const char *path)
{
    DIR *entries = opendir(path);
    int count = 0;
    if (entries == NULL)
        return -1;
    while (readdir(entries) != NULL)
        count++;
    closedir(entries);
    return count <= 2;
}

static int remove_directory(const char *path)
{
    struct stat status;
    char kept[PATH_ROOM];
    if (lstat(path, &status) != 0)
        return -1;
    int empty = is_empty(path);
    if (empty < 0)
        return -1;
    if (!empty) {
        errno = ENOTEMPTY;
        return -1;
    }
    image_path(kept, "gone", status.st_ino, ".d");
    return real_rename(path, kept);
}

int unlink(const char *path)
{
    char absolute[PATH_ROOM + PATH_MAX];
    if (on_disk(AT_FDCWD, path, absolute))
        keep_file(absolute);
    find_real();
    return real_unlink(path);
}

int unlinkat(int directory, const char *path, int flags)
{
    char absolute[PATH_ROOM + PATH_MAX];
    if (on_disk(directory, path, absolute)) {
        if (flags & AT_REMOVEDIR)
            return remove_directory(absolute);
        keep_file(absolute);
    }
    find_real();
    return real_unlinkat(directory, path, flags);
}

int rmdir(const char *path)
{
    char absolute[PATH_ROOM + PATH_MAX];
    if (on_disk(AT_FDCWD, path, absolute))
        return remove_directory(absolute);
    find_real();
    return real_rmdir(path);
}

static void keep_replaced(int directory, const char *path)
{
    char absolute[PATH_ROOM + PATH_MAX];
    struct stat status;
    if (!on_disk(directory, path, absolute))
        return;
    if (lstat(absolute, &status) == 0 && S_ISDIR(status.st_mode))
        refuse("a rename onto a directory");
    keep_file(absolute);
}

int rename(const char *from, const char *to)
{
    keep_replaced(AT_FDCWD, to);
    find_real();
    return real_rename(from, to);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to,
              unsigned flags)
{
    if (active() && (flags & RENAME_EXCHANGE))
        refuse("an exchanging rename");
    keep_replaced(to_directory, to);
    find_real();
    return real_renameat2(from_directory, from, to_directory, to, flags);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    return renameat2(from_directory, from, to_directory, to, 0);
}

static int open_checked(int directory, const char *path, int flags, mode_t mode)
{
    char absolute[PATH_ROOM + PATH_MAX];
    find_real();
    if ((flags & O_DSYNC) && on_disk(directory, path, absolute))
        refuse("a file that is synced by every write");
    return real_openat(directory, path, flags, mode);
}

/* The mode is there only with flags that create; reading it otherwise yields what is not used. */
#define OPEN_WITH(directory)                                        \
    va_list arguments;                                              \
    mode_t mode = 0;                                                \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {    \
        va_start(arguments, flags);                                 \
        mode = va_arg(arguments, mode_t);                           \
        va_end(arguments);                                          \
    }                                                               \
    return open_checked(directory, path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_WITH(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_WITH(AT_FDCWD);
}

int openat(int directory, const char *path, int flags, ...)
{
    OPEN_WITH(directory);
}

int openat64(int directory, const char *path, int flags, ...)
{
    OPEN_WITH(directory);
}

int msync(void *start, size_t length, int flags)
{
    if (active() && (flags & MS_SYNC))
        refuse("msync");
    return real_msync(start, length, flags);
}

void sync(void)
{
    if (active())
        refuse("sync");
    real_sync();
}

int syncfs(int fd)
{
    if (active())
        refuse("syncfs");
    return real_syncfs(fd);
}

/*
 * What is there already is durable: it was before this program began. A directory comes after
 * what is in it, so the list of the topmost one tells that all of it was taken in.
 */
static void adopt(const char *path)
{
    int fd = real_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        fail("adopt", path);
    if (S_ISDIR(status.st_mode)) {
        DIR *entries = opendir(path);
        struct dirent *entry;
        if (entries == NULL)
            fail("adopt", path);
        while ((entry = readdir(entries)) != NULL) {
            char below[PATH_ROOM + PATH_MAX];
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
            adopt(below);
        }
        closedir(entries);
    }
    if (sync_to_image(fd) != 0)
        fail("adopt", path);
    close(fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *data_given = getenv("FORGET_UNSYNCED_DATA");
    const char *disk_given = getenv("FORGET_UNSYNCED_DISK");
    char names[PATH_ROOM];
    struct stat status;
    find_real();
    if (data_given == NULL || disk_given == NULL)
        return;
    if (realpath(data_given, data) == NULL)
        fail("find", data_given);
    if (realpath(disk_given, disk) == NULL)
        fail("find", disk_given);
    for (int part = 0; part < 4; part++) {
        const char *parts[] = {"files", "names", "gone", "spent"};
        char path[PATH_ROOM];
        snprintf(path, sizeof path, "%s/%s", disk, parts[part]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            fail("create", path);
    }
    if (stat(data, &status) != 0)
        fail("find", data);
    data_device = status.st_dev;
    image_path(names, "names", status.st_ino, "");
    if (access(names, F_OK) != 0)
        adopt(data);
    data_length = strlen(data);
}
