//! `WINDOWKV_CUDA_ARCHS`.

use crate::architectures::Architectures;

fn flags(list: &str, hopper_only: bool) -> Vec<String> {
    let architectures = Architectures::parse(list).expect("a right list");
    architectures.flags(hopper_only).expect("flags")
}

#[test]
fn machine_code_for_each_and_ptx_of_the_last() {
    assert_eq!(
        flags(Architectures::DEFAULT, false),
        [
            "-gencode=arch=compute_80,code=sm_80",
            "-gencode=arch=compute_90a,code=sm_90a",
            "-gencode=arch=compute_90,code=compute_90",
        ]
    );
    assert_eq!(
        flags(" 86 , 90a, 100a", false).last().expect("some"),
        "-gencode=arch=compute_100,code=compute_100"
    );
}

#[test]
fn hopper_kernels_are_compiled_for_hopper_alone() {
    assert_eq!(
        flags("80,90a,120", true),
        ["-gencode=arch=compute_90a,code=sm_90a"]
    );
    let without = Architectures::parse("80,90").expect("a right list");
    let error = without.flags(true).expect_err("no 90a");
    assert!(
        error.contains("80,90: the Hopper kernels need 90a"),
        "{error}"
    );
}

#[test]
fn what_is_no_architecture_is_named() {
    for (list, wrong) in [
        ("", "\"\""),
        ("80,", "\"\""),
        ("sm_80", "\"sm_80\""),
        ("80;90a", "\"80;90a\""),
        ("75", "\"75\""),
        ("90ab", "\"90ab\""),
        ("+90", "\"+90\""),
        ("99999999999", "\"99999999999\""),
        ("native", "\"native\""),
    ] {
        let error = Architectures::parse(list).expect_err(list);
        assert!(error.starts_with("WINDOWKV_CUDA_ARCHS"), "{error}");
        assert!(error.contains(wrong), "{list}: {error}");
    }
    let error = Architectures::parse("80,90a,80").expect_err("twice");
    assert_eq!(error, "WINDOWKV_CUDA_ARCHS names 80 twice");
}
