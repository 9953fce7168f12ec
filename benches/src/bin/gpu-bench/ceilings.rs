//! The ceilings of a machine, before and after the kernels.

use windowkv_benches::gpu::clock::Clock;
use windowkv_benches::gpu::peer::Peers;
use windowkv_benches::record::{Ceilings, Record};

/// Adds them to the record, or why they are not there. `peers` are asked where this program has no matrix product.
pub(super) fn measure(
    clock: &Clock,
    when: &str,
    record: &mut Record,
    peers: impl FnOnce() -> Result<Peers, String>,
) {
    let copy = match clock.copy_rate() {
        Ok(rate) => rate,
        Err(error) => {
            record.skip(&format!("the ceilings of the {when}"), &error.to_string());
            return;
        }
    };
    let product = clock.product_rate().or_else(|ours| {
        let theirs = peers().and_then(|mut peers| peers.product_rate());
        theirs.map_err(|theirs| format!("{ours}; {theirs}"))
    });
    if let Err(why) = &product {
        record.skip(&format!("the rate of matrix products, at the {when}"), why);
    }
    record.ceilings.retain(|ceilings| ceilings.when != when);
    record.ceilings.push(Ceilings {
        when: when.to_owned(),
        copy_bytes_per_second: copy,
        product_operations_per_second: product.ok(),
    });
}
