//! Work on all cores.

use std::sync::{Mutex, PoisonError};

/// Does all tasks and gives their results in the tasks' order. After an error no further task begins.
pub(crate) fn parallel<T: Send, R: Send>(
    tasks: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(T) -> Result<R, String> + Sync,
) -> Result<Vec<R>, String> {
    let tasks = Mutex::new(Some(tasks.into_iter().enumerate()));
    let next = || lock(&tasks).as_mut().and_then(Iterator::next);
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, task)) = next() {
                    let result = work(task);
                    if result.is_err() {
                        *lock(&tasks) = None;
                    }
                    lock(&results).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A panic elsewhere ends the scope with a panic of its own.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
