//! Views refuse what their memory does not hold, before any kernel sees it.

use windowkv_kernels::{
    CacheLayout, Device, Error, Matrix, MatrixMut, Pages, RowsF32, RowsF32Mut, Sequences, Strides,
    Tensor, TensorMut,
};

fn shape_error<T>(result: Result<T, Error>, word: &str) {
    match result {
        Err(Error::Shape(text)) => assert!(text.contains(word), "{text}"),
        Err(other) => panic!("{other} instead of a shape error with {word:?}"),
        Ok(_) => panic!("no error with {word:?}"),
    }
}

#[test]
fn a_view_fits_its_memory_to_the_last_element() {
    let device = Device::emulated();
    let mut memory = device.zeroed::<f32>(2 * 3 * 4 * 8).expect("memory");
    let whole = [2, 3, 4, 8];
    assert!(Tensor::new(memory.view(), whole).is_ok());
    assert!(TensorMut::new(memory.view_mut(), whole).is_ok());
    shape_error(
        Tensor::strided(
            memory.view(),
            whole,
            Strides {
                batch: 96,
                token: 32,
                head: 8,
            },
            1,
        ),
        "does not fit a memory of 192 elements",
    );
    for axis in 0..4 {
        let mut shape = whole;
        shape[axis] += 1;
        shape_error(Tensor::new(memory.view(), shape), "does not fit");
    }
    assert!(Matrix::new(memory.view(), 24, 8).is_ok());
    shape_error(Matrix::new(memory.view(), 25, 8), "does not fit");
    assert!(RowsF32::new(memory.view(), [2, 3, 32]).is_ok());
    shape_error(RowsF32::new(memory.view(), [2, 3, 33]), "does not fit");
    shape_error(memory.view().range(5..193), "elements 5 to 193 of 192");
    // Nothing of an empty view is ever touched, wherever it starts inside.
    assert!(Tensor::new(memory.view(), [0, 3, 4, 8]).is_ok());
    shape_error(Matrix::strided(memory.view(), 0, 4, 4, 193), "does not fit");
}

#[test]
fn sizes_that_overflow_are_an_error() {
    let device = Device::emulated();
    let memory = device.zeroed::<f32>(8).expect("memory");
    let huge = usize::MAX;
    shape_error(
        Tensor::new(memory.view(), [huge, huge, 2, 8]),
        "does not fit",
    );
    shape_error(
        Matrix::strided(memory.view(), huge, 1, huge, 0),
        "does not fit",
    );
    shape_error(
        RowsF32::strided(memory.view(), [2, 2, 1], huge, huge, 0),
        "does not fit",
    );
    shape_error(
        Matrix::strided(memory.view(), 1, 1, huge, 0),
        "a stride is over 2^63",
    );
    assert!(matches!(
        device.poisoned::<f32>(huge),
        Err(Error::OutOfMemory(_))
    ));
    assert!(matches!(
        device.zeroed::<f32>(usize::MAX),
        Err(Error::OutOfMemory(_))
    ));
    shape_error(
        windowkv_kernels::ops::rope_turns(usize::MAX, 10_000.0, None),
        "head_dim is 18446744073709551615",
    );
}

#[test]
fn what_is_written_does_not_overlap_itself() {
    let device = Device::emulated();
    let mut memory = device.zeroed::<f32>(64).expect("memory");
    assert!(Matrix::strided(memory.view(), 4, 8, 4, 0).is_ok());
    shape_error(
        MatrixMut::strided(memory.view_mut(), 4, 8, 4, 0),
        "on top of each other",
    );
    shape_error(
        RowsF32Mut::strided(memory.view_mut(), [2, 2, 8], 8, 8, 0),
        "on top of each other",
    );
    let strides = Strides {
        batch: 0,
        token: 16,
        head: 8,
    };
    shape_error(
        TensorMut::strided(memory.view_mut(), [2, 2, 2, 8], strides, 0),
        "on top of each other",
    );
    // A stride of an axis of one is not used.
    assert!(TensorMut::strided(memory.view_mut(), [1, 2, 2, 8], strides, 0).is_ok());
    // Heads outermost, with gaps.
    let strides = Strides {
        batch: 0,
        token: 10,
        head: 32,
    };
    assert!(TensorMut::strided(memory.view_mut(), [1, 3, 2, 8], strides, 0).is_ok());
}

#[test]
fn a_paged_cache_has_a_whole_table_and_pages_of_a_power_of_two() {
    let device = Device::emulated();
    let table = device.upload(&[0_i32, 1, 2, 3]).expect("memory");
    let pages = |page_len| Pages {
        table: table.view(),
        pages_per_sequence: 2,
        page_len,
        num_pages: 4,
    };
    let strides = Strides::default();
    let layout = CacheLayout::paged(2, 1, 32, strides, pages(16)).expect("it fits");
    assert_eq!((layout.batch(), layout.capacity()), (2, 32));
    shape_error(
        CacheLayout::paged(3, 1, 32, strides, pages(16)),
        "the page table has 4 entries",
    );
    shape_error(
        CacheLayout::paged(2, 1, 32, strides, pages(12)),
        "not a power of two",
    );
    shape_error(
        CacheLayout::paged(2, 1, 32, strides, pages(0)),
        "not a power of two",
    );
}

#[test]
fn a_ragged_batch_has_one_sequence_less_than_offsets() {
    let device = Device::emulated();
    let offsets = device.upload(&[0_i32, 3, 9]).expect("memory");
    let memory = device.zeroed::<f32>(9 * 8).expect("memory");
    let tensor = Tensor::new(memory.view(), [1, 9, 1, 8]).expect("it fits");
    let sequences = Sequences::ragged(offsets.view(), 6);
    assert!(sequences.is_ragged());
    assert_eq!(sequences.batch(tensor.shape()), 2);
    assert_eq!(Sequences::padded(9).batch(tensor.shape()), 1);
}
