//! What disturbs readers and writers: floods of deferrals, readers that stall, threads that come and go in bursts, and CPUs
//! taken away from threads and given back.

use crate::guards::Guard;
use crate::machine::{Rng, cpus};
use crate::objects::{LAYOUTS, Object};
use crate::{World, readers};
use gracealloc::{deferred_free, synchronize_timeout};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Deferrals in one flood, and threads in one burst.
const FLOOD: usize = 20_000;
const BURST: usize = 12;
/// Where pages are scarce a flood is made to wait.
const LONGEST: Duration = Duration::from_millis(30);

/// One disturbance after the other, until the end.
pub(crate) fn disturb(world: &World, mut rng: Rng) {
    while !world.stopped() {
        match rng.below(4) {
            0 => stall(world, &mut rng),
            1 => flood(&mut rng),
            _ => burst(world, &mut rng),
        }
        std::thread::sleep(Duration::from_millis(rng.below(60) as u64));
    }
}

/// A reader that stays for long. One that may wait asks whether grace periods know of it.
fn stall(world: &World, rng: &mut Rng) {
    let guard = world.kinds.open(rng);
    let look = world.look(rng);
    if matches!(guard, Guard::Owned(_)) && synchronize_timeout(Duration::from_millis(2)).is_ok() {
        world.finds.add();
    }
    std::thread::sleep(Duration::from_millis(rng.below(40) as u64));
    world.look_again(&look);
    world.stalls.fetch_add(1, Relaxed);
}

/// Deferrals as fast as can be.
fn flood(rng: &mut Rng) {
    let layout = LAYOUTS[rng.below(LAYOUTS.len())];
    // SAFETY: nobody else has known these objects.
    let defer = |_| unsafe { deferred_free(Object::new(layout, 0).cast(), layout) };
    let begin = Instant::now();
    (0..FLOOD).take_while(|_| begin.elapsed() < LONGEST).for_each(defer);
}

/// Threads that begin together, read and defer a little, leave a section to others, and end together.
fn burst(world: &World, rng: &mut Rng) {
    std::thread::scope(|scope| {
        for _ in 0..BURST {
            let mut rng = Rng(rng.next());
            scope.spawn(move || {
                (0..20).for_each(|_| readers::section(world, &mut rng));
                let layout = LAYOUTS[rng.below(LAYOUTS.len())];
                // SAFETY: nobody else has known this object.
                unsafe { deferred_free(Object::new(layout, 0).cast(), layout) };
                if world.kinds.has_own() {
                    world.post.exchange(world, &mut rng);
                }
            });
        }
    });
    world.threads.fetch_add(BURST as u64, Relaxed);
}

/// Gives all threads of this process fewer CPUs, others, and all of them back.
pub(crate) fn shuffle(world: &World, mut rng: Rng) {
    while !world.stopped() {
        std::thread::sleep(Duration::from_millis(1 + rng.below(20) as u64));
        let some: Vec<_> = world.cpus.iter().copied().filter(|_| rng.one_in(2)).collect();
        set_cpus(if some.is_empty() { &world.cpus } else { &some });
        world.shuffles.fetch_add(1, Relaxed);
    }
    set_cpus(&world.cpus);
    assert_eq!(cpus(), world.cpus);
}

/// Binds every thread there is now to these CPUs. A thread that ends meanwhile is no failure.
#[cfg(target_os = "linux")]
fn set_cpus(cpus: &[usize]) {
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // SAFETY: an integer array that is only read.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            cpus.iter().for_each(|&cpu| libc::CPU_SET(cpu, &mut set));
            libc::sched_setaffinity(id, size_of::<libc::cpu_set_t>(), &set);
        }
    }
}

/// Threads stay where the system puts them.
#[cfg(not(target_os = "linux"))]
fn set_cpus(_cpus: &[usize]) {}
