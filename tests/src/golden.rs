//! Where the golden vectors lie and how their files are read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{Array2, Array3};
use safetensors::{Dtype, SafeTensors};

/// The folder of golden vectors: `WINDOWKV_GOLDEN`, or the project's own copy.
pub fn folder() -> PathBuf {
    std::env::var_os("WINDOWKV_GOLDEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"),
        PathBuf::from,
    )
}

/// What lies in `folder/name`, sorted; empty when there is no such folder.
pub fn entries(name: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder().join(name)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("the folder of golden vectors can be listed")
                .path()
        })
        .collect();
    paths.sort();
    paths
}

/// Tensors and parameters of one golden file.
pub struct Vectors {
    bytes: Vec<u8>,
    parameters: HashMap<String, String>,
}

impl Vectors {
    /// Reads a safetensors file.
    ///
    /// # Panics
    /// When it cannot be read: a broken golden file is a failed test.
    pub fn read(path: &Path) -> Self {
        let bytes =
            std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parameters = metadata.metadata().clone().unwrap_or_default();
        Self { bytes, parameters }
    }

    /// A parameter from the file's metadata.
    ///
    /// # Panics
    /// When it is missing or not of the type.
    pub fn parameter<T: FromStr>(&self, name: &str) -> T {
        let value = self
            .parameters
            .get(name)
            .unwrap_or_else(|| panic!("no parameter {name}"));
        value
            .parse()
            .unwrap_or_else(|_| panic!("parameter {name} is {value}"))
    }

    /// Names of the tensors that start with `prefix`, and what follows it.
    pub fn suffixes(&self, prefix: &str) -> Vec<String> {
        let tensors = self.tensors();
        let mut names: Vec<String> = tensors
            .names()
            .into_iter()
            .filter_map(|name| name.strip_prefix(prefix))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("read once already")
    }

    fn words(&self, name: &str, dtype: Dtype) -> (Vec<usize>, Vec<[u8; 4]>) {
        let tensors = self.tensors();
        let tensor = tensors
            .tensor(name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tensor.dtype(), dtype, "{name}");
        (
            tensor.shape().to_vec(),
            tensor.data().as_chunks::<4>().0.to_vec(),
        )
    }

    /// A float32 tensor of three dimensions.
    ///
    /// # Panics
    /// When it is missing or of another form.
    pub fn array3(&self, name: &str) -> Array3<f32> {
        let (shape, words) = self.words(name, Dtype::F32);
        let shape: [usize; 3] = shape
            .try_into()
            .unwrap_or_else(|shape| panic!("{name} is {shape:?}"));
        let values = words.into_iter().map(f32::from_le_bytes).collect();
        Array3::from_shape_vec(shape, values).expect("safetensors checked the length")
    }

    /// A float32 tensor of two dimensions; one of one dimension becomes a single row.
    ///
    /// # Panics
    /// When it is missing or of another form.
    pub fn array2(&self, name: &str) -> Array2<f32> {
        let (shape, words) = self.words(name, Dtype::F32);
        let columns = *shape.last().unwrap_or_else(|| panic!("{name} is a scalar"));
        let rows = shape[..shape.len() - 1].iter().product();
        let values = words.into_iter().map(f32::from_le_bytes).collect();
        Array2::from_shape_vec((rows, columns), values).expect("safetensors checked the length")
    }

    /// An int32 tensor as rows of indices (one row if it has one dimension).
    ///
    /// # Panics
    /// When it is missing, of another form, or holds a negative number.
    pub fn indices(&self, name: &str) -> Vec<Vec<usize>> {
        let (shape, words) = self.words(name, Dtype::I32);
        let values: Vec<usize> = words
            .into_iter()
            .map(|word| {
                usize::try_from(i32::from_le_bytes(word))
                    .unwrap_or_else(|_| panic!("{name}: negative"))
            })
            .collect();
        let columns = *shape.last().unwrap_or_else(|| panic!("{name} is a scalar"));
        if columns == 0 {
            vec![Vec::new()]
        } else {
            values.chunks(columns).map(<[_]>::to_vec).collect()
        }
    }
}
