//! A value that is read without a lock while it is replaced: the safe face of readers and deferred frees.
//!
//! ```text
//!   load      one load, under a guard that the reference may not outlive
//!   replace   a new block -- swap --> the old one is unlinked -- deferred_free, or its destructor deferred
//!   update    under a guard: load, make a new value of it, compare and exchange; again, if somebody was faster
//! ```
//!
//! Invariant: `current` points to a live value in a block of `GraceAlloc` (whatever the program's global allocator is), and
//! who takes it out of there is the only one who retires it.

use crate::defer::{self, Object, deferred_free};
use crate::global::GraceAlloc;
use crate::read::{OwnedReadGuard, ReadGuard, read};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, needs_drop};
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// A value that any number of threads read while others replace it; old values are dropped when their readers have left.
///
/// Reading costs a guard ([`read`]) and a load. The guard and the [`Rcu`] both outlive what was loaded, so none of it can be
/// misused; in exchange `T` has to be `Send` and `Sync` and `'static`: a value is seen by all readers, and is dropped some time
/// later, elsewhere.
///
/// Old values without drop glue go back by [`deferred_free`], in any context. Others are dropped as
/// [`defer_drop`](crate::defer_drop) does it: on the worker thread, where a panic ends the process; without memory for an
/// entry, or in an [`atomic_section`](crate::atomic_section) when those made beforehand (64) are in use, they are leaked
/// and counted ([`Stats::leaked_drops`](crate::Stats::leaked_drops)).
///
/// A guard for one of them holds up the old values of all: there is one domain in a program. A value must not hold an
/// [`OwnedReadGuard`]: it would wait for itself.
///
/// The value's memory is [`GraceAlloc`]'s, also where that is not the program's global allocator.
///
/// The name and the idea are those of read-copy-update in the Linux kernel (`rcu_dereference`, `rcu_replace_pointer`).
///
/// # Examples
/// ```
/// use gracealloc::{Rcu, read};
///
/// let hosts = Rcu::new(vec!["one"]);
/// let guard = read();
/// let before = hosts.load(&guard);
/// hosts.update(|old| [old.as_slice(), &["two"]].concat());
/// assert_eq!(before, &["one"]); // still there
/// assert_eq!(hosts.load(&guard), &["one", "two"]);
/// ```
/// What was loaded does not outlive the guard:
/// ```compile_fail,E0716
/// let rcu = gracealloc::Rcu::new(1);
/// let one = rcu.load(&gracealloc::read());
/// println!("{one}");
/// ```
pub struct Rcu<T> {
    current: AtomicPtr<T>,
    _owns: PhantomData<T>,
}

impl<T: Send + Sync + 'static> Rcu<T> {
    /// With its first value. It allocates: for a `static` use [`LazyLock`](std::sync::LazyLock).
    ///
    /// Without memory the process ends, as with `Box::new`.
    pub fn new(value: T) -> Self {
        Self { current: AtomicPtr::new(allocate_or_end(value).as_ptr()), _owns: PhantomData }
    }

    /// The value now, for as long as the guard is open. Never blocks; works in a signal handler.
    ///
    /// Later calls with the same guard may find a newer value.
    pub fn load<'a>(&'a self, _guard: &'a impl Guard) -> &'a T {
        // Acquire: pairs with the Release of who published it.
        // SAFETY: live when it was loaded; the guard was open before, so it is not given back while that is borrowed.
        unsafe { &*self.current.load(Acquire) }
    }

    /// Puts a new value in the place of the one there, which is dropped when its readers have left.
    ///
    /// Without memory the process ends, as with `Box::new`; where that may happen (in an
    /// [`atomic_section`](crate::atomic_section)) use [`try_replace`](Self::try_replace). As
    /// [`deferred_free`], it waits only in preemptible context and when there is no room for what waits: hold no guard here.
    ///
    /// # Panics
    /// - If a function that other code has deferred with crossbeam panics meanwhile. The value is replaced all the same.
    pub fn replace(&self, value: T) {
        self.publish(allocate_or_end(value));
    }

    /// As [`replace`](Self::replace), for callers that can do without.
    ///
    /// # Errors
    /// - The value, if there is no memory for it: in an [`atomic_section`](crate::atomic_section) always above 32 KiB.
    ///
    /// # Examples
    /// ```
    /// let rcu = gracealloc::Rcu::new(1);
    /// let section = gracealloc::atomic_section();
    /// assert_eq!(rcu.try_replace(2), Ok(()));
    /// # drop(section);
    /// ```
    pub fn try_replace(&self, value: T) -> Result<(), T> {
        allocate(value).map(|block| self.publish(block))
    }

    fn publish(&self, new: NonNull<T>) {
        // Release: the new value, for `load`. Acquire: the old one was written before, for who gives it back.
        let old = self.current.swap(new.as_ptr(), AcqRel);
        // SAFETY: it stood there, and the swap made it ours alone to retire.
        unsafe { retire(old) };
    }

    /// Replaces the value by what `next` makes of it, without losing what others do meanwhile: `next` is called again if
    /// somebody was faster.
    ///
    /// Without memory the process ends, also in an [`atomic_section`](crate::atomic_section): there load, and use
    /// [`try_replace`](Self::try_replace) if there is one writer only.
    ///
    /// `next` runs as a reader: it must not wait for readers, nor replace the value itself (then it would be called for
    /// ever). What it made in vain is dropped at once, outside of that section. If it panics, the value stays as it is.
    ///
    /// # Examples
    /// ```
    /// use gracealloc::{Rcu, read};
    ///
    /// let count = Rcu::new(0);
    /// std::thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| (0..100).for_each(|_| count.update(|n| n + 1)));
    ///     }
    /// });
    /// assert_eq!(*count.load(&read()), 200);
    /// ```
    pub fn update(&self, mut next: impl FnMut(&T) -> T) {
        while let Err(unused) = self.try_update(&mut next) {
            // SAFETY: nobody else has seen it.
            unsafe { drop_block(unused) };
        }
    }

    /// One attempt; on an error, somebody was faster, and this is what was made in vain.
    fn try_update(&self, next: &mut impl FnMut(&T) -> T) -> Result<(), *mut T> {
        let guard = read();
        let old = self.current.load(Acquire);
        // SAFETY: as in `load`.
        let new = allocate_or_end(next(unsafe { &*old })).as_ptr();
        // No ABA: under the guard the old block is not given back, so what has its address is what was read.
        // Release and Acquire: as in `publish`. Relaxed: on failure nothing is read.
        self.current.compare_exchange(old, new, AcqRel, Relaxed).map_err(|_| new)?;
        drop(guard); // who is no reader may wait for room
        // SAFETY: as in `publish`.
        unsafe { retire(old) };
        Ok(())
    }

    /// The value, which nobody else sees: what was loaded borrows from here.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: live, and borrowed from nowhere else.
        unsafe { &mut **self.current.get_mut() }
    }

    /// The value, out of here.
    pub fn into_inner(self) -> T {
        let block = Block(*ManuallyDrop::new(self).current.get_mut());
        // SAFETY: live, ours alone, and read once: the block gives back memory only.
        unsafe { block.0.read() }
    }
}

/// Nobody reads any more, since what was loaded borrows from here: the value is dropped now.
impl<T> Drop for Rcu<T> {
    fn drop(&mut self) {
        // SAFETY: live, and ours alone.
        unsafe { drop_block(*self.current.get_mut()) };
    }
}

impl<T: fmt::Debug + Send + Sync + 'static> fmt::Debug for Rcu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rcu").field(self.load(&read())).finish()
    }
}

impl<T: Default + Send + Sync + 'static> Default for Rcu<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Send + Sync + 'static> From<T> for Rcu<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// What protects what is loaded from an [`Rcu`]: a [`ReadGuard`] or an [`OwnedReadGuard`].
///
/// Not a guard of crossbeam-epoch's: it does not tell safely that it is of the default collector and protects at all. After
/// a `fork` an [`OwnedReadGuard`] of before does not either: a child (which may do little anyway) opens its own.
pub trait Guard: sealed::Sealed {}

impl Guard for ReadGuard {}
impl Guard for OwnedReadGuard {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ReadGuard {}
    impl Sealed for super::OwnedReadGuard {}
}

/// The memory of a value, given back when this is dropped; not the value.
struct Block<T>(*mut T);

impl<T> Block<T> {
    /// With at least one byte: a pointer to nothing would not tell one value from the next.
    const LAYOUT: Layout =
        match Layout::from_size_align(if size_of::<T>() == 0 { 1 } else { size_of::<T>() }, align_of::<T>()) {
            Ok(layout) => layout,
            Err(_) => panic!("no room for one byte with this alignment"),
        };
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        // SAFETY: `allocate` got it with this layout, and it is given back here alone.
        unsafe { GraceAlloc.dealloc(self.0.cast(), Self::LAYOUT) };
    }
}

/// A block with this value; without memory, the value.
fn allocate<T>(value: T) -> Result<NonNull<T>, T> {
    // SAFETY: the layout has a size.
    let Some(block) = NonNull::new(unsafe { GraceAlloc.alloc(Block::<T>::LAYOUT) }) else { return Err(value) };
    // SAFETY: fresh, and as large and aligned as a value.
    unsafe { block.cast::<T>().write(value) };
    Ok(block.cast())
}

fn allocate_or_end<T>(value: T) -> NonNull<T> {
    allocate(value).unwrap_or_else(|_| std::alloc::handle_alloc_error(Block::<T>::LAYOUT))
}

/// Drops a value and gives its block back, which a destructor that panics does not prevent.
///
/// # Safety
/// - [`allocate`] made it, and it is nobody else's.
unsafe fn drop_block<T>(value: *mut T) {
    let _block = Block(value);
    // SAFETY: handed on to the caller.
    unsafe { value.drop_in_place() };
}

/// [`drop_block`], once the readers of now have left.
///
/// # Safety
/// - [`allocate`] made it, it is unlinked, and nobody else retires it.
unsafe fn retire<T: Send + 'static>(value: *mut T) {
    // SAFETY: handed on to the caller; without drop glue the block is all there is.
    unsafe {
        if needs_drop::<T>() {
            defer::defer_drop_with(value, drop_retired::<T>);
        } else {
            deferred_free(value.cast(), Block::<T>::LAYOUT);
        }
    }
}

/// # Safety
/// - As for [`drop_block`], of the pointer that `object` was made of.
unsafe fn drop_retired<T>(object: Object) {
    // SAFETY: handed on to the caller.
    unsafe { drop_block(defer::pointer_in::<T>(object)) };
}

/// Neither what is not `Sync`, as others read it too,
/// ```compile_fail,E0277
/// gracealloc::Rcu::new(std::cell::Cell::new(1));
/// ```
/// nor what is not `Send`, as it is dropped on another thread,
/// ```compile_fail,E0277
/// static LOCK: std::sync::Mutex<u64> = std::sync::Mutex::new(1);
/// gracealloc::Rcu::new(LOCK.lock().unwrap());
/// ```
/// nor what borrows, as it is dropped at another time,
/// ```compile_fail,E0597
/// let text = String::new();
/// gracealloc::Rcu::new(text.as_str());
/// ```
/// nor anything while what was loaded is in use.
/// ```compile_fail,E0502
/// let mut rcu = gracealloc::Rcu::new(1);
/// let guard = gracealloc::read();
/// let one = rcu.load(&guard);
/// *rcu.get_mut() = 2;
/// println!("{one}");
/// ```
/// ```compile_fail,E0716
/// let guard = gracealloc::read();
/// let one = gracealloc::Rcu::new(1).load(&guard);
/// println!("{one}");
/// ```
#[cfg(doctest)]
struct Refused;
