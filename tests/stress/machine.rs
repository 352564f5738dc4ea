//! What makes schedules wild: random CPUs, and a timer whose signal handler allocates.

/// A small generator of random numbers (splitmix64); the seed is printed by who makes the first one.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The seed: from `SEED` if that is set, else from the clock. Printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    if cfg!(miri) {
        return 1; // Miri has seeds of its own
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("SEED").map_or(now, |text| text.parse().unwrap());
    println!("\nSEED={seed}");
    seed
}

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use linux::{Ticker, cpus, move_to};

#[cfg(all(target_os = "linux", not(miri)))]
mod linux {
    use gracealloc::{GraceAlloc, atomic_section};
    use std::alloc::{GlobalAlloc, Layout};
    use std::mem::{size_of, zeroed};
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

    /// The CPUs this process may use.
    pub(crate) fn cpus() -> Vec<usize> {
        // SAFETY: an integer array, filled by the call.
        unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set), 0);
            (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
        }
    }

    /// Moves this thread to a CPU. One that went offline meanwhile is no failure.
    pub(crate) fn move_to(cpu: usize) {
        // SAFETY: an integer array that is only read.
        unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        }
    }

    /// Objects that handlers leave for other handlers to free.
    static POCKETS: [AtomicPtr<u8>; 16] = [const { AtomicPtr::new(ptr::null_mut()) }; 16];
    static TICKS: AtomicUsize = AtomicUsize::new(0);

    const LAYOUTS: [Layout; 3] = [Layout::new::<[u64; 2]>(), Layout::new::<[u64; 8]>(), Layout::new::<[u64; 150]>()];

    fn free(ptr: *mut u8, layout: Layout) {
        if !ptr.is_null() {
            // SAFETY: a pocket's object is ours alone once it is out; it begins with its own address.
            unsafe {
                if ptr.cast::<usize>().replace(0) != ptr.addr() {
                    libc::abort(); // no panic in a handler
                }
                GraceAlloc.dealloc(ptr, layout);
            }
        }
    }

    /// Whether handlers open an atomic section. Without one they are safe only in programs that do nothing but call the
    /// allocator.
    static SECTION: AtomicBool = AtomicBool::new(true);

    extern "C" fn on_tick(_: libc::c_int) {
        let _section = SECTION.load(Relaxed).then(atomic_section);
        let tick = TICKS.fetch_add(1, Relaxed);
        let (pocket, layout) = (tick % POCKETS.len(), LAYOUTS[tick % POCKETS.len() % LAYOUTS.len()]);
        // SAFETY: the layout has a size; the object is ours until it is in the pocket.
        let ptr = unsafe {
            let ptr = GraceAlloc.alloc(layout);
            if !ptr.is_null() {
                ptr.cast::<usize>().write(ptr.addr());
            }
            ptr
        };
        free(POCKETS[pocket].swap(ptr, std::sync::atomic::Ordering::AcqRel), layout);
        if let Some(also) = ALSO.get() {
            also(tick);
        }
    }

    /// What handlers do besides; it gets the number of the tick.
    static ALSO: OnceLock<fn(usize)> = OnceLock::new();

    /// A timer that interrupts this thread every so often, until it is dropped.
    pub(crate) struct Ticker(libc::timer_t);

    impl Ticker {
        pub(crate) fn start(nanoseconds: i64) -> Self {
            let interval = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds as _ };
            // SAFETY: the structures are ours; the handler has the right signature and does only what handlers may.
            unsafe {
                let mut action: libc::sigaction = zeroed();
                action.sa_sigaction = on_tick as extern "C" fn(libc::c_int) as usize;
                action.sa_flags = libc::SA_RESTART;
                assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
                let mut event: libc::sigevent = zeroed();
                event.sigev_notify = libc::SIGEV_THREAD_ID;
                event.sigev_signo = libc::SIGUSR1;
                event.sigev_notify_thread_id = libc::gettid();
                let mut timer = zeroed();
                assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
                let spec = libc::itimerspec { it_interval: interval, it_value: interval };
                assert_eq!(libc::timer_settime(timer, 0, &spec, ptr::null_mut()), 0);
                Self(timer)
            }
        }

        /// From now on handlers do this besides. It does only what handlers may.
        #[allow(dead_code, reason = "not every test program needs it")]
        pub(crate) fn also(run: fn(usize)) {
            ALSO.get_or_init(|| run);
        }

        /// From now on handlers open no atomic section.
        pub(crate) fn without_section() {
            SECTION.store(false, Relaxed);
        }

        /// Frees what handlers left, once all timers are gone; returns how many signals there were.
        pub(crate) fn finish() -> usize {
            for (at, pocket) in POCKETS.iter().enumerate() {
                free(pocket.swap(ptr::null_mut(), Relaxed), LAYOUTS[at % LAYOUTS.len()]);
            }
            TICKS.load(Relaxed)
        }
    }

    impl Drop for Ticker {
        fn drop(&mut self) {
            // SAFETY: made in `start`.
            unsafe { libc::timer_delete(self.0) };
        }
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) use portable::{Ticker, cpus, move_to};

/// Threads stay where the system puts them, and nobody interrupts them.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod portable {
    pub(crate) fn cpus() -> Vec<usize> {
        (0..std::thread::available_parallelism().map_or(1, |n| n.get())).collect()
    }

    pub(crate) fn move_to(_cpu: usize) {}

    pub(crate) struct Ticker;

    impl Ticker {
        pub(crate) fn start(_nanoseconds: i64) -> Self {
            Self
        }

        #[allow(dead_code, reason = "not every test program needs it")]
        pub(crate) fn also(_run: fn(usize)) {}

        pub(crate) fn without_section() {}

        pub(crate) fn finish() -> usize {
            0
        }
    }
}
