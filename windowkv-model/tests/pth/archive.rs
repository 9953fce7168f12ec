//! PyTorch files made by hand, sound and spoilt.

/// One entry of an archive; any field may be spoilt.
#[derive(Clone)]
pub(crate) struct Entry {
    /// In both headers.
    pub(crate) name: Vec<u8>,
    /// What follows the local header.
    pub(crate) data: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    /// Sizes as the central directory gives them: stored, whole.
    pub(crate) sizes: [u32; 2],
    /// Name in the local header, if it differs.
    pub(crate) local_name: Option<Vec<u8>>,
    /// Offset of the local header, if it differs.
    pub(crate) offset: Option<u32>,
}

impl Entry {
    pub(crate) fn new(name: &str, data: &[u8]) -> Self {
        Self {
            name: name.into(),
            data: data.into(),
            method: 0,
            flags: 0,
            sizes: [data.len() as u32; 2],
            local_name: None,
            offset: None,
        }
    }
}

/// An archive of stored entries; `end` may spoil its end record: entries, directory size, directory offset.
pub(crate) fn zip(entries: &[Entry], end: impl FnOnce(&mut [u32; 3])) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = entry.offset.unwrap_or(file.len() as u32);
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        file.extend(b"PK\x03\x04\0\0");
        for word in [entry.flags, entry.method, 0, 0] {
            file.extend(word.to_le_bytes());
        }
        for long in [0, entry.sizes[0], entry.sizes[1]] {
            file.extend(long.to_le_bytes());
        }
        file.extend((local_name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend(local_name);
        file.extend(&entry.data);
        directory.extend(b"PK\x01\x02\0\0\0\0");
        for word in [entry.flags, entry.method, 0, 0] {
            directory.extend(word.to_le_bytes());
        }
        for long in [0, entry.sizes[0], entry.sizes[1]] {
            directory.extend(long.to_le_bytes());
        }
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    let mut said = [
        entries.len() as u32,
        directory.len() as u32,
        file.len() as u32,
    ];
    end(&mut said);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        file.extend((said[0] as u16).to_le_bytes());
    }
    file.extend(said[1].to_le_bytes());
    file.extend(said[2].to_le_bytes());
    file.extend([0, 0]);
    file
}

/// A state dict's archive with this data.pkl and one storage, `data/0`, of `floats` f32 numbers.
pub(crate) fn state_dict(pickle: &[u8], floats: usize) -> Vec<u8> {
    zip(&entries(pickle, floats), |_| ())
}

pub(crate) fn entries(pickle: &[u8], floats: usize) -> Vec<Entry> {
    let data: Vec<u8> = (0..floats).flat_map(|i| (i as f32).to_le_bytes()).collect();
    vec![
        Entry::new("archive/data.pkl", pickle),
        Entry::new("archive/byteorder", b"little"),
        Entry::new("archive/data/0", &data),
        Entry::new("archive/version", b"3\n"),
    ]
}

/// Pieces of a pickle stream.
pub(crate) mod op {
    pub(crate) const BEGIN: &[u8] = b"\x80\x02}";
    pub(crate) const SET: &[u8] = b"s";
    pub(crate) const END: &[u8] = b".";

    pub(crate) fn text(text: &str) -> Vec<u8> {
        let len = (text.len() as u32).to_le_bytes();
        [b"X", &len[..], text.as_bytes()].concat()
    }

    pub(crate) fn int(value: i32) -> Vec<u8> {
        [b"J", &value.to_le_bytes()[..]].concat()
    }

    /// A whole number in 8 bytes.
    pub(crate) fn long(value: i64) -> Vec<u8> {
        [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
    }

    pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    pub(crate) fn storage(kind: &str, key: &str, len: &[u8]) -> Vec<u8> {
        let parts = [
            b"(".to_vec(),
            text("storage"),
            global("torch", kind),
            text(key),
            text("cpu"),
            len.to_vec(),
            b"tQ".to_vec(),
        ];
        parts.concat()
    }

    /// A tuple of numbers that are already written.
    pub(crate) fn tuple(values: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), values.concat(), b"t".to_vec()].concat()
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`
    pub(crate) fn tensor(storage: &[u8], offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
        let parts = [
            global("torch._utils", "_rebuild_tensor_v2"),
            b"(".to_vec(),
            storage.to_vec(),
            offset.to_vec(),
            shape.to_vec(),
            strides.to_vec(),
            b"\x89".to_vec(),
            global("collections", "OrderedDict"),
            b")RtR".to_vec(),
        ];
        parts.concat()
    }

    /// A state dict with one item.
    pub(crate) fn dict(name: &str, value: &[u8]) -> Vec<u8> {
        [BEGIN, &text(name), value, SET, END].concat()
    }

    /// A state dict with the tensor `w` of shape [2, 3] in the f32 storage `0` of 6 elements.
    pub(crate) fn sound() -> Vec<u8> {
        dict(
            "w",
            &tensor(
                &storage("FloatStorage", "0", &int(6)),
                &int(0),
                &tuple(&[int(2), int(3)]),
                &tuple(&[int(3), int(1)]),
            ),
        )
    }
}
