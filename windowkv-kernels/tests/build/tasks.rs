//! Work on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::parallel::parallel;

#[test]
fn results_are_in_the_order_of_the_tasks() {
    let squares = parallel(0..100_u64, |i| Ok(i * i)).expect("no error");
    assert_eq!(squares, (0..100).map(|i| i * i).collect::<Vec<_>>());
    assert!(
        parallel(0..0, Ok::<u64, String>)
            .expect("no error")
            .is_empty()
    );
}

#[test]
fn after_an_error_no_task_begins() {
    let begun = AtomicUsize::new(0);
    let result = parallel(0..1_000_000, |i| {
        begun.fetch_add(1, Ordering::Relaxed);
        if i == 3 {
            Err(format!("task {i}"))
        } else {
            Ok(i)
        }
    });
    assert_eq!(result, Err("task 3".to_owned()));
    assert!(begun.into_inner() < 1_000_000);
}
