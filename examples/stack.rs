//! A lock-free stack after Treiber, whose nodes go back by `deferred_free`.
//!
//! Its trouble is ABA: `pop` reads the head A and A's successor B and then exchanges A for B, which must fail if A has been away
//! in between, even if it is the head again. Under a read guard that cannot happen: a node that was popped is given back
//! only when the guards of then are closed, and nothing is pushed but fresh nodes. So as long as the guard is open nobody
//! gets A's memory for a node of his, the exchange succeeds only if A was the head all the time, and its successor, which
//! never changes, is B.

use gracealloc::{GraceAlloc, deferred_free, read};
use std::alloc::Layout;
use std::sync::atomic::{AtomicPtr, Ordering::*};
use std::{mem::ManuallyDrop, ptr, thread};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

struct Node<T> {
    value: ManuallyDrop<T>,
    next: *mut Node<T>,
}

struct Stack<T>(AtomicPtr<Node<T>>);

// SAFETY: each value is handed from one thread to one other; of nodes, threads share what does not change.
unsafe impl<T: Send> Sync for Stack<T> {}

impl<T: Send> Stack<T> {
    /// No guard: the head is not followed, and if it is another node at the same address, it is still the right successor.
    fn push(&self, value: T) {
        let node = Box::into_raw(Box::new(Node { value: ManuallyDrop::new(value), next: ptr::null_mut() }));
        // SAFETY: nobody else has the node before it is published.
        let publish = |head| unsafe {
            (*node).next = head;
            Some(node)
        };
        let _ = self.0.fetch_update(Release, Relaxed, publish); // Release: the node, for `pop`
    }

    fn pop(&self) -> Option<T> {
        let guard = read();
        // SAFETY: what was the head under the guard is there for as long as that is open; see above. Its successor does
        // not change. Acquire: pairs with the Release in `push`.
        let node = self.0.fetch_update(Acquire, Acquire, |head| unsafe { head.as_ref().map(|head| head.next) }).ok()?;
        drop(guard); // who is no reader may wait where memory is short
        // SAFETY: unlinked by this thread alone, so its value is ours; others read only its successor.
        unsafe {
            let value = ptr::read(&raw const (*node).value);
            deferred_free(node.cast(), Layout::new::<Node<T>>());
            Some(ManuallyDrop::into_inner(value))
        }
    }
}

const EACH: u64 = 50_000;

fn main() {
    let stack = Stack(AtomicPtr::new(ptr::null_mut()));
    let push_two_pop_one = |i| {
        stack.push(Box::new(i));
        stack.push(Box::new(0));
        *stack.pop().expect("more are pushed than popped")
    };
    let popped: u64 = thread::scope(|scope| {
        let threads =
            [0, 1, 2, 3].map(|n| scope.spawn(move || (0..EACH).map(|i| push_two_pop_one(n * EACH + i)).sum::<u64>()));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let rest: Vec<_> = std::iter::from_fn(|| stack.pop()).collect();
    assert_eq!(rest.len() as u64, 4 * EACH, "as many as were not popped before");
    assert_eq!(popped + rest.iter().map(|n| **n).sum::<u64>(), (0..4 * EACH).sum(), "each of them once");
    gracealloc::barrier();
    assert_eq!(gracealloc::stats().deferred_objects, 0);
    println!("{} nodes pushed and popped", 8 * EACH);
}

#[test]
fn runs() {
    main();
}
