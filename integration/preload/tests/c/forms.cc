// All forms of new and delete; with REPLACED, in a program that has its own plain ones, which all others must end in.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#define CHECK(condition) \
    ((condition) ? (void)0 : (std::printf("line %d: %s\n", __LINE__, #condition), std::exit(1)))

#ifdef REPLACED
// Blocks that begin behind a number: free would not know them.
static long balance;
void *operator new(std::size_t size)
{
    auto *block = static_cast<std::max_align_t *>(std::malloc(size + sizeof(std::max_align_t)));
    if (!block)
        throw std::bad_alloc();
    ++balance;
    return block + 1;
}
void operator delete(void *block) noexcept
{
    if (block) {
        --balance;
        std::free(static_cast<std::max_align_t *>(block) - 1);
    }
}
#endif

struct alignas(256) Wide {
    char bytes[300];
};
struct Polymorphic {
    virtual ~Polymorphic() = default;
    long words[7] = {};
};
struct Derived : Polymorphic {
    std::string text = std::string(1000, 'x');
};

static bool is_aligned(const void *block, std::size_t align)
{
    return reinterpret_cast<std::uintptr_t>(block) % align == 0;
}

// The functions by name: every overload, not only those that this compiler's expressions choose.
static void by_name()
{
    const std::align_val_t wide{ 128 };
    for (std::size_t size : { 0, 1, 16, 100, 1000, 32768, 32769, 1000000 }) {
        ::operator delete(::operator new(size));
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size));
        ::operator delete[](::operator new[](size), size);
        ::operator delete(::operator new(size, std::nothrow), std::nothrow);
        ::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
        void *block = ::operator new(size, wide);
        CHECK(is_aligned(block, 128));
        ::operator delete(block, wide);
        ::operator delete(::operator new(size, wide), size, wide);
        ::operator delete[](::operator new[](size, wide), wide);
        ::operator delete[](::operator new[](size, wide), size, wide);
        ::operator delete(::operator new(size, wide, std::nothrow), wide, std::nothrow);
        ::operator delete[](::operator new[](size, wide, std::nothrow), wide, std::nothrow);
    }
    ::operator delete(nullptr);
    ::operator delete(nullptr, std::size_t{ 10 });
    ::operator delete[](nullptr, std::size_t{ 10 }, wide);
}

static void by_expression()
{
    for (int round = 0; round < 1000; round++) {
        delete new int(round);
        delete[] new int[round + 1];
        delete[] new std::string[3]{ "short", std::string(100, 'y'), "" };
        Wide *one = new Wide, *many = new Wide[3];
        CHECK(is_aligned(one, 256) && is_aligned(many, 256));
        delete one;
        delete[] many;
        std::unique_ptr<Polymorphic>(new Derived).reset();
        std::make_shared<Derived>();
    }
}

static int handled;

static void out_of_memory()
{
    volatile std::size_t most = static_cast<std::size_t>(PTRDIFF_MAX) - 100;
    bool is_caught = false;
    try {
        ::operator delete(::operator new(most));
    } catch (const std::bad_alloc &) {
        is_caught = true;
    }
    CHECK(is_caught && ::operator new(most, std::nothrow) == nullptr);
    std::set_new_handler([] {
        ++handled;
        std::set_new_handler(nullptr);
    });
    CHECK(::operator new[](most, std::align_val_t{ 64 }, std::nothrow) == nullptr);
    CHECK(handled == 1);
}

[[maybe_unused]] static void containers()
{
    std::vector<std::thread> threads;
    for (int n = 0; n < 4; n++) {
        threads.emplace_back([n] {
            std::map<std::string, std::vector<int>> map;
            for (int i = 0; i < 5000; i++)
                map["key " + std::to_string(i % 700) + std::string(i % 40, '.')].push_back(i + n);
        });
    }
    for (auto &thread : threads)
        thread.join();
}

int main()
{
    by_name();
    by_expression();
    out_of_memory();
#ifdef REPLACED
    CHECK(balance == 0);
#else
    containers();
#endif
    std::puts("all forms");
}
