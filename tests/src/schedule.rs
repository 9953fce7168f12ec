//! How often a property is tried, and on how many threads.

use proptest::test_runner::{Config, RngSeed};

/// A property's settings: `cases` random cases, or `PROPTEST_CASES` of them. The same cases on every run, unless
/// `PROPTEST_RNG_SEED` asks for others.
pub fn cases(cases: u32) -> Config {
    let asked = |name| std::env::var_os(name).is_some();
    let from_environment = Config::default();
    Config {
        cases: if asked("PROPTEST_CASES") {
            from_environment.cases
        } else {
            cases
        },
        rng_seed: if asked("PROPTEST_RNG_SEED") {
            from_environment.rng_seed
        } else {
            RngSeed::Fixed(0x0057_494e_444f_574b)
        },
        failure_persistence: None,
        ..from_environment
    }
}

/// Runs `work` in a pool of its own with so many threads.
///
/// # Panics
/// When the system cannot start them.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a few threads").install(work)
}
