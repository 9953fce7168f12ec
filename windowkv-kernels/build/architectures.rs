//! The GPU architectures to compile for.

/// As `WINDOWKV_CUDA_ARCHS` lists them. PTX of the last one, without its letter, is embedded for later GPUs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Architectures(Vec<String>);

impl Architectures {
    pub(crate) const DEFAULT: &str = "80,90a";

    /// Reads a list such as `80,86,90a`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut list: Vec<String> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let digits = item.strip_suffix(|c: char| c.is_ascii_lowercase());
            let digits = digits.unwrap_or(item);
            let number = digits
                .bytes()
                .all(|c| c.is_ascii_digit())
                .then(|| digits.parse::<u32>());
            if !matches!(number, Some(Ok(80..))) {
                return Err(format!(
                    "WINDOWKV_CUDA_ARCHS: {item:?} is not an architecture such as 80, 86, 90a or 100a (80 is the \
                     least; a comma between two)"
                ));
            }
            if list.iter().any(|other| other == item) {
                return Err(format!("WINDOWKV_CUDA_ARCHS names {item} twice"));
            }
            list.push(item.to_owned());
        }
        Ok(Self(list))
    }

    /// nvcc's flags for a file that needs sm_90a, or for one that runs on every architecture.
    pub(crate) fn flags(&self, hopper_only: bool) -> Result<Vec<String>, String> {
        let generate =
            |arch: &str, code: &str| format!("-gencode=arch=compute_{arch},code={code}_{arch}");
        let kept = self.0.iter().filter(|item| !hopper_only || *item == "90a");
        let mut flags: Vec<String> = kept.map(|item| generate(item, "sm")).collect();
        if flags.is_empty() {
            return Err(format!(
                "WINDOWKV_CUDA_ARCHS is {}: the Hopper kernels need 90a in it",
                self.0.join(",")
            ));
        }
        if let (Some(newest), false) = (self.0.last(), hopper_only) {
            let number = newest.trim_end_matches(|c: char| c.is_ascii_lowercase());
            flags.push(generate(number, "compute"));
        }
        Ok(flags)
    }
}
