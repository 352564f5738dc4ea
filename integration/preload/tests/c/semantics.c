/* What glibc's manual says of malloc and its kin: holds with its own allocator, and must hold with ours. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : (printf("line %d: %s\n", __LINE__, #condition), exit(1)))

/* So that the compiler, which knows what malloc is, takes nothing for granted. */
static void *(*volatile allocate)(size_t) = malloc;
static void *(*volatile allocate_zeroed)(size_t, size_t) = calloc;
static void *(*volatile resize)(void *, size_t) = realloc;
static void *(*volatile resize_array)(void *, size_t, size_t) = reallocarray;
static void *(*volatile allocate_aligned)(size_t, size_t) = aligned_alloc;
static void (*volatile release)(void *) = free;

static int is_aligned(void *block, size_t align)
{
    return (uintptr_t)block % align == 0;
}

static void sizes_and_alignment(void)
{
    for (size_t size = 0; size < 300000; size += size < 5000 ? 1 : 4999) {
        char *block = allocate(size);
        CHECK(block && is_aligned(block, 16));
        CHECK(malloc_usable_size(block) >= size);
        memset(block, 0xa5, malloc_usable_size(block));
        char *zeroed = allocate_zeroed(size ? size : 1, 1);
        for (size_t i = 0; i < size; i++)
            CHECK(zeroed[i] == 0);
        memset(zeroed, 0x5a, size);
        release(block);
        release(zeroed);
    }
}

static void size_zero(void)
{
    void *one = allocate(0), *other = allocate(0), *none = allocate_zeroed(0, 10);
    CHECK(one && other && none && one != other && other != none);
    release(one);
    release(other);
    release(none);
    release(NULL);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void too_large(void)
{
    size_t most = PTRDIFF_MAX;
    for (size_t size = SIZE_MAX - 100; size >= most; size = size > most + 1000 ? most + 1000 : size - 1000) {
        errno = 0;
        CHECK(!allocate(size) && errno == ENOMEM);
    }
    errno = 0;
    CHECK(!allocate_zeroed(SIZE_MAX / 2, 3) && errno == ENOMEM);
    errno = 0;
    CHECK(!allocate_aligned(64, SIZE_MAX - 10) && errno == ENOMEM);
    errno = 0;
    CHECK(!pvalloc(SIZE_MAX) && errno == ENOMEM);

    char *block = allocate(10);
    strcpy(block, "as before");
    errno = 0;
    CHECK(!resize(block, most + 1) && errno == ENOMEM);
    errno = 0;
    CHECK(!resize_array(block, SIZE_MAX / 4, 5) && errno == ENOMEM);
    CHECK(strcmp(block, "as before") == 0);
    release(block);
}

static void resizing(void)
{
    char *block = resize(NULL, 10);
    strcpy(block, "content");
    for (size_t size = 9; size < (size_t)64 << 20; size = size * 3 / 2 + 1) {
        block = resize(block, size);
        CHECK(block && is_aligned(block, 16) && strcmp(block, "content") == 0);
        block[size - 1] = 1;
    }
    for (size_t size = (size_t)64 << 20; size >= 8; size = size * 2 / 3) {
        block = resize(block, size);
        CHECK(block && strcmp(block, "content") == 0);
    }
    errno = 77;
    CHECK(resize(block, 0) == NULL && errno == 77);
    block = resize_array(NULL, 10, 10);
    CHECK(block && malloc_usable_size(block) >= 100);
    release(block);
    CHECK((block = resize(NULL, 0)) != NULL);
    release(block);
}

static void alignments(void)
{
    for (size_t align = 1; align <= (size_t)16 << 20; align *= 2) {
        for (size_t size = 0; size < 100000; size = size * 5 + 3) {
            void *block = allocate_aligned(align, size), *same = memalign(align, size), *other = NULL;
            CHECK(block && is_aligned(block, align) && malloc_usable_size(block) >= size);
            CHECK(same && is_aligned(same, align));
            int answer = posix_memalign(&other, align, size);
            CHECK(align < sizeof(void *) ? answer == EINVAL && !other : answer == 0 && is_aligned(other, align));
            memset(block, 1, size);
            block = resize(block, size + 100); /* need not be aligned any more */
            CHECK(block && (size == 0 || *(char *)block == 1));
            release(block);
            release(same);
            release(other);
        }
    }
    void *place = &place;
    errno = 77;
    CHECK(posix_memalign(&place, 24, 10) == EINVAL && place == &place && errno == 77);
    CHECK(posix_memalign(&place, 0, 10) == EINVAL);
    CHECK(posix_memalign(&place, 64, SIZE_MAX - 1000) == ENOMEM && place == &place && errno == 77);
    size_t page = sysconf(_SC_PAGESIZE);
    void *one = valloc(10), *whole = pvalloc(page + 1);
    CHECK(is_aligned(one, page) && is_aligned(whole, page) && malloc_usable_size(whole) >= 2 * page);
    release(one);
    release(whole);
}

static void errno_stays(void)
{
    errno = 77;
    for (int round = 0; round < 3; round++) {
        static void *blocks[20000];
        for (int i = 0; i < 20000; i++)
            CHECK((blocks[i] = allocate(i % 40000)));
        for (int i = 0; i < 20000; i++)
            release(blocks[i]);
        CHECK((blocks[0] = allocate((size_t)40 << 20)));
        release(blocks[0]);
        malloc_trim(0);
        CHECK(errno == 77);
    }
}

int main(void)
{
    sizes_and_alignment();
    size_zero();
    too_large();
    resizing();
    alignments();
    errno_stays();
    puts("as the manual says");
    return 0;
}
