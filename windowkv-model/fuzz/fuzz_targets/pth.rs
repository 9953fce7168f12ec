#![no_main]
//! cargo +nightly fuzz run pth   (in windowkv-model/)

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    windowkv_model::testing::read_untrusted_pth(file);
});
