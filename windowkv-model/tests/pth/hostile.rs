//! Files that want to harm: each is refused with an error that says why, in bounded time and memory.

use super::archive::{Entry, entries, op, state_dict, zip};

/// Name, file, and a part of the error's message.
pub(crate) type Case = (&'static str, Vec<u8>, &'static str);

fn pickle(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn spoilt(change: impl FnOnce(&mut Vec<Entry>)) -> Vec<u8> {
    let mut entries = entries(&op::sound(), 6);
    change(&mut entries);
    zip(&entries, |_| ())
}

/// The file with other bytes from `at` on.
fn bent(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// The archive with 64-bit end records, as torch.save writes them, that count `count` entries.
pub(crate) fn zip64(file: &[u8], count: u64) -> Vec<u8> {
    let (rest, end) = file.split_at(file.len() - 22);
    let long = |at: usize| u64::from(u32::from_le_bytes(end[at..at + 4].try_into().unwrap()));
    // Signature and length of the rest; versions and volumes; entries here and in all, directory size and offset.
    let mut record = [&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[0; 12]].concat();
    for number in [count, count, long(12), long(16)] {
        record.extend(number.to_le_bytes());
    }
    let locator = [
        &b"PK\x06\x07\0\0\0\0"[..],
        &(rest.len() as u64).to_le_bytes(),
        &[1, 0, 0, 0],
    ];
    [rest, &record, &locator.concat(), end].concat()
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [containers(), streams(), tensors()].concat()
}

/// Spoilt archives.
fn containers() -> Vec<Case> {
    let sound = state_dict(&op::sound(), 6);
    let named = |name: &str| {
        let name = name.to_owned();
        spoilt(move |entries| entries[2].name = name.into_bytes())
    };
    let mut legacy = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    legacy.extend(op::sound());
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let directory = sound.windows(4).position(|part| part == b"PK\x01\x02");
    let directory = directory.expect("every archive has one");
    let second = 30 + "archive/data.pkl".len() + op::sound().len();
    let mut bomb = entries(&op::sound(), 6);
    bomb[2].method = 8;
    bomb[2].sizes = [200, u32::MAX - 7];
    vec![
        ("an empty file", vec![], "does not begin with a zip"),
        ("a text", b"hello".to_vec(), "does not begin with a zip"),
        ("the format before 2020", legacy, "before 2020"),
        ("a tar archive", tar, "tar format"),
        (
            "a TorchScript program",
            spoilt(|e| e.push(Entry::new("archive/constants.pkl", b"."))),
            "TorchScript",
        ),
        (
            "a file cut in the middle",
            sound[..sound.len() / 2].to_vec(),
            "truncated",
        ),
        (
            "a file without its last byte",
            sound[..sound.len() - 1].to_vec(),
            "truncated",
        ),
        (
            "bytes behind the end",
            [&sound[..], b"x"].concat(),
            "truncated",
        ),
        (
            "bytes before the beginning",
            [b"#!", &sound[..]].concat(),
            "does not begin with a zip",
        ),
        (
            "an archive within an archive",
            [&sound[..], &sound[..]].concat(),
            "does not end at byte",
        ),
        ("a zip bomb", zip(&bomb, |_| ()), "compressed (method 8)"),
        (
            "a zip bomb that only its local header admits",
            {
                let mut file = zip(&entries(&op::sound(), 6), |_| ());
                file[8] = 8;
                file
            },
            "compressed (method 8)",
        ),
        (
            "an encrypted entry",
            spoilt(|e| e[0].flags = 1),
            "encrypted",
        ),
        (
            "a stored entry whose two sizes differ",
            spoilt(|e| e[2].sizes = [24, u32::MAX - 1]),
            "has 4294967294 bytes and takes 24",
        ),
        (
            "an entry longer than the file",
            spoilt(|e| e[2].sizes = [1 << 30; 2]),
            "truncated",
        ),
        (
            "an entry of 4 GB",
            spoilt(|e| e[2].sizes = [u32::MAX; 2]),
            "archive/data/0",
        ),
        (
            "overlapping entries (a quine bomb)",
            spoilt(|e| {
                let mut again = e[2].clone();
                again.name = b"archive/data/1".to_vec();
                again.local_name = Some(again.name.clone());
                again.offset = Some(0);
                e.push(again);
            }),
            "two different ways",
        ),
        (
            "two entries that share their bytes",
            {
                // The second entry's header stands within the first one's data.
                let inner = zip(&[Entry::new("archive/data/0", &[0; 24])], |_| ());
                let mut outer = entries(&op::sound(), 6);
                outer[3] = Entry::new("archive/outer", &inner[..68]);
                let start = 4 * 30 + 16 + 17 + 14 + 13 + op::sound().len() as u32 + 6 + 24;
                outer[2].offset = Some(start);
                zip(&outer, |_| ())
            },
            "overlap",
        ),
        (
            "the same name twice",
            spoilt(|e| e.push(e[2].clone())),
            "stands twice",
        ),
        (
            "a path upwards",
            named("archive/../../etc/passwd"),
            "names are one folder",
        ),
        (
            "an absolute path",
            named("/etc/passwd"),
            "names are one folder",
        ),
        (
            "a Windows path",
            named("archive/..\\..\\evil"),
            "names are one folder",
        ),
        ("a drive", named("C:/evil"), "names are one folder"),
        (
            "a path that stays in its place",
            named("archive/./data"),
            "names are one folder",
        ),
        (
            "a name with NUL",
            named("archive/data\0.pkl"),
            "names are one folder",
        ),
        (
            "a folder as an entry",
            named("archive/data/"),
            "names are one folder",
        ),
        ("an empty name", named(""), "names are one folder"),
        (
            "a name that is not UTF-8",
            spoilt(|e| e[2].name = b"archive/\xff\xfe".to_vec()),
            "names are one folder",
        ),
        (
            "a name of 60,000 bytes",
            named(&format!("a/{}", "x".repeat(60_000))),
            "bytes of an entry's name",
        ),
        (
            "a local name that differs",
            spoilt(|e| e[2].local_name = Some(b"archive/data/9".to_vec())),
            "two different ways",
        ),
        (
            "an offset out of the file",
            spoilt(|e| e[2].offset = Some(u32::MAX - 9)),
            "is out of it",
        ),
        ("two folders", named("other/data/0"), "several folders"),
        (
            "no data.pkl",
            spoilt(|e| _ = e.remove(0)),
            "no entry \"archive/data.pkl\"",
        ),
        (
            "no entries",
            [b"PK\x03\x04".to_vec(), zip(&[], |_| ())].concat(),
            "does not end at byte",
        ),
        (
            "a directory of 4 GB",
            zip(&entries(&op::sound(), 6), |end| end[1] = u32::MAX),
            "bytes of directory",
        ),
        (
            "a directory that wraps around",
            zip(&entries(&op::sound(), 6), |end| end[2] = u32::MAX - 3),
            "does not end at byte",
        ),
        (
            "65,535 entries that are not there",
            zip(&entries(&op::sound(), 6), |end| end[0] = 0xffff),
            "has 65535 entries; at most 16384",
        ),
        (
            "20,000 entries of which the end record admits one",
            zip(&vec![Entry::new("a/b", b""); 20_000], |end| end[0] = 1),
            "has 16385 entries; at most 16384",
        ),
        (
            "a wrong count of entries",
            zip(&entries(&op::sound(), 6), |end| end[0] = 3),
            "counts 3 entries",
        ),
        (
            "one of several volumes",
            bent(&sound, sound.len() - 18, &[1]),
            "a part of several",
        ),
        (
            "64-bit end records that count otherwise",
            zip64(&sound, 5),
            "contradicts the other one",
        ),
        (
            "a directory that is none",
            bent(&sound, directory, b"PK\x01\x03"),
            "garbled",
        ),
        (
            "a local header that is none",
            bent(&sound, second, b"PK\x03\x05"),
            "two different ways",
        ),
        (
            "a local size that differs",
            bent(&sound, second + 22, &[7]),
            "two different ways",
        ),
        (
            "big-endian numbers",
            spoilt(|e| e[1] = Entry::new("archive/byteorder", b"big")),
            "not little-endian",
        ),
        (
            "a byteorder of a megabyte",
            spoilt(|e| e[1] = Entry::new("archive/byteorder", &vec![b'x'; 1 << 20])),
            "bytes of byteorder",
        ),
    ]
}

/// Spoilt pickle streams.
fn streams() -> Vec<Case> {
    let file = |stream: Vec<u8>| state_dict(&stream, 6);
    let call = |module: &str, name: &str, argument: &str| {
        let run = pickle(&[&op::global(module, name), &op::text(argument), b"\x85R"]);
        file(op::dict("w", &run))
    };
    let body = |parts: &[&[u8]]| file(pickle(&[b"\x80\x02", &parts.concat(), b"."]));
    let many =
        |bytes: &[u8], count: usize| file(pickle(&[b"\x80\x02", &bytes.repeat(count), b"."]));
    let puts: Vec<u8> = (0..200_000_u32)
        .flat_map(|index| [b"r", &index.to_le_bytes()[..]].concat())
        .collect();
    let mut doubling = b"\x80\x02)q\x00".to_vec();
    for _ in 0..200 {
        // A tuple of the remembered value twice, remembered in its place: 2^200 leaves if it were written out.
        doubling.extend(b"h\x00h\x00\x86q\x00");
    }
    doubling.push(b'.');
    vec![
        (
            "os.system",
            call("os", "system", "touch /tmp/owned"),
            "os.system",
        ),
        (
            "posix.system",
            call("posix", "system", "id"),
            "posix.system",
        ),
        (
            "builtins.eval",
            call("builtins", "eval", "1"),
            "builtins.eval",
        ),
        (
            "builtins.getattr",
            call("builtins", "getattr", "x"),
            "builtins.getattr",
        ),
        (
            "subprocess.Popen",
            call("subprocess", "Popen", "sh"),
            "subprocess.Popen",
        ),
        (
            "numpy's reconstruct",
            call("numpy.core.multiarray", "_reconstruct", "x"),
            "_reconstruct",
        ),
        (
            "torch.load itself",
            call("torch", "load", "x"),
            "torch.load",
        ),
        (
            "a global that only begins like an allowed one",
            call("torch", "FloatStorage.x", "x"),
            "FloatStorage.x",
        ),
        (
            "a global of 100,000 bytes",
            file(op::dict("w", &op::global(&"a".repeat(100_000), "b"))),
            "more than 128 bytes",
        ),
        (
            "a global by STACK_GLOBAL",
            body(&[&op::text("os"), &op::text("system"), b"\x93"]),
            "0x93",
        ),
        ("INST", body(&[b"(ios\nsystem\n"]), "0x69"),
        (
            "OBJ",
            body(&[b"(", &op::global("collections", "OrderedDict"), b"o"]),
            "0x6f",
        ),
        (
            "NEWOBJ",
            body(&[&op::global("collections", "OrderedDict"), b")\x81"]),
            "0x81",
        ),
        ("an extension code", body(&[b"\x82\x01"]), "0x82"),
        ("a number as text", body(&[b"I1\n"]), "0x49"),
        ("a number of 2 GB", body(&[b"\x8b\xff\xff\xff\x7f"]), "0x8b"),
        (
            "a number of 255 bytes",
            body(&[b"\x8a\xff", &[1; 255]]),
            "more than 64 bits",
        ),
        (
            "a text of 4 GB",
            body(&[b"X\xff\xff\xff\xff"]),
            "bytes of text",
        ),
        (
            "a text longer than the stream",
            body(&[b"X\x00\x08\x00\x00abc"]),
            "truncated",
        ),
        (
            "a text that is not UTF-8",
            body(&[b"X\x02\x00\x00\x00\xff\xfe"]),
            "not UTF-8",
        ),
        (
            "bytes of 2^63",
            body(&[b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"]),
            "0x8e",
        ),
        (
            "an unknown protocol",
            file(b"\x80\xff}.".to_vec()),
            "version of the protocol",
        ),
        (
            "a protocol that torch.save does not write",
            file(b"\x80\x05}.".to_vec()),
            "version of the protocol",
        ),
        (
            "a tuple over a mark",
            body(&[b"N(N\x86"]),
            "a tuple of missing values",
        ),
        (
            "an item over a mark",
            body(&[b"}(Ns"]),
            "an item of missing values",
        ),
        ("items over a mark", body(&[b"}((u"]), "items of something"),
        (
            "an allowed name of another module",
            body(&[&op::global("os", "FloatStorage")]),
            "os.FloatStorage",
        ),
        (
            "an allowed name of torch's in another place",
            body(&[&op::global("torch", "OrderedDict")]),
            "torch.OrderedDict",
        ),
        (
            "a stream without an end",
            file(pickle(&[op::BEGIN])),
            "truncated",
        ),
        (
            "a stream that ends in an operation",
            file(b"\x80\x02J\x01".to_vec()),
            "truncated",
        ),
        (
            "a stream that goes on after its end",
            file(pickle(&[&op::sound(), b"."])),
            "bytes follow",
        ),
        ("an empty stream", file(vec![]), "truncated"),
        (
            "nothing on the stack",
            file(b"\x80\x02.".to_vec()),
            "missing",
        ),
        (
            "a pop below a mark",
            file(b"\x80\x02}(.".to_vec()),
            "missing",
        ),
        ("a million open marks", many(b"(", 1 << 20), "nested lists"),
        (
            "a million nested tuples",
            many(
                b"N\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85\x85",
                9,
            ),
            "nested tuples",
        ),
        (
            "a tuple of itself doubled 200 times",
            file(doubling),
            "nested tuples",
        ),
        (
            "a memo bomb",
            file(pickle(&[b"\x80\x02N", &puts, b"."])),
            "remembered values",
        ),
        ("a stack bomb", many(b"N", 1 << 18), "values on the stack"),
        ("a bomb of empty dictionaries", many(b"}0", 1 << 18), "0x30"),
        (
            "operations without end",
            file(pickle(&[b"\x80\x02}", &b"Nb".repeat(300_000), b"."])),
            "pickle operations",
        ),
        (
            "a stream of 5 MB",
            file(vec![b'N'; 5 << 20]),
            "bytes of data.pkl",
        ),
        (
            "a value that was never remembered",
            body(&[b"h\x07"]),
            "never remembered",
        ),
        (
            "nothing to remember",
            file(b"\x80\x02q\x00.".to_vec()),
            "nothing to remember",
        ),
        (
            "an odd number of items",
            body(&[b"}(N", b"u"]),
            "without a value",
        ),
        (
            "items of a number",
            body(&[b"K\x01(NNu"]),
            "items of something",
        ),
        (
            "attributes of a number",
            body(&[b"K\x01}b"]),
            "attributes of something",
        ),
        (
            "a list instead of a state dict",
            body(&[b")"]),
            "something else",
        ),
        (
            "a tensor instead of a state dict",
            file(b"\x80\x02N.".to_vec()),
            "something else",
        ),
        ("a call of a dictionary", body(&[b"})R"]), "other arguments"),
        (
            "a call of a storage type",
            body(&[&op::global("torch", "FloatStorage"), b")R"]),
            "other arguments",
        ),
        (
            "a call without arguments",
            body(&[&op::global("collections", "OrderedDict"), b"NR"]),
            "without its arguments",
        ),
    ]
}

/// Spoilt tensors and storages.
fn tensors() -> Vec<Case> {
    let file = |stream: Vec<u8>| state_dict(&stream, 6);
    let storage = |kind: &str, key: &str, len: Vec<u8>| {
        let storage = op::storage(kind, key, &len);
        let shape = op::tuple(&[op::int(2), op::int(3)]);
        let strides = op::tuple(&[op::int(3), op::int(1)]);
        file(op::dict(
            "w",
            &op::tensor(&storage, &op::int(0), &shape, &strides),
        ))
    };
    let written = |shape: &[u8], strides: &[u8], offset: i64| {
        let storage = op::storage("FloatStorage", "0", &op::int(6));
        file(op::dict(
            "w",
            &op::tensor(&storage, &op::long(offset), shape, strides),
        ))
    };
    let numbers = |numbers: &[i64]| {
        let numbers: Vec<_> = numbers.iter().map(|&number| op::long(number)).collect();
        op::tuple(&numbers)
    };
    let tensor = |offset: i64, shape: &[i64], strides: &[i64]| {
        written(&numbers(shape), &numbers(strides), offset)
    };
    const THIRD: i64 = 3_074_457_345_618_258_603;
    let max = i64::MAX;
    vec![
        (
            "a storage of 2^63 elements",
            storage("FloatStorage", "0", op::long(max)),
            "elements of 4 bytes",
        ),
        (
            "a storage whose bytes wrap around to its entry's",
            storage("FloatStorage", "0", op::long((1 << 62) + 6)),
            "elements of 4 bytes",
        ),
        (
            "a storage of negative length",
            storage("FloatStorage", "0", op::int(-1)),
            "negative length",
        ),
        (
            "a storage longer than its entry",
            storage("FloatStorage", "0", op::int(7)),
            "stored in 24 bytes",
        ),
        (
            "a storage shorter than its entry",
            storage("HalfStorage", "0", op::int(6)),
            "stored in 24 bytes",
        ),
        (
            "a storage that is not there",
            storage("FloatStorage", "1", op::int(6)),
            "not stored",
        ),
        (
            "a storage with a path for a key",
            storage("FloatStorage", "../0", op::int(6)),
            "not a number",
        ),
        (
            "a storage without a key",
            storage("FloatStorage", "", op::int(6)),
            "not a number",
        ),
        (
            "a persistent object that looks like a storage",
            file(op::dict(
                "w",
                &pickle(&[
                    b"(",
                    &op::text("module"),
                    &op::global("torch", "FloatStorage"),
                    &op::text("0"),
                    &op::text("cpu"),
                    &op::int(6),
                    b"tQ",
                ]),
            )),
            "not to a storage",
        ),
        (
            "a storage with a long key",
            storage("FloatStorage", &"1".repeat(21), op::int(6)),
            "not a number",
        ),
        (
            "an unknown storage type",
            storage("UntypedStorage", "0", op::int(6)),
            "UntypedStorage",
        ),
        (
            "a persistent object that is no storage",
            file(op::dict(
                "w",
                &pickle(&[&op::tuple(&[op::text("module")]), b"Q"]),
            )),
            "not to a storage",
        ),
        (
            "a negative offset",
            tensor(-1, &[2], &[1]),
            "negative offset",
        ),
        (
            "an offset out of the storage",
            tensor(5, &[2], &[1]),
            "out of its storage",
        ),
        (
            "the greatest offset",
            tensor(max, &[2], &[1]),
            "out of its storage",
        ),
        (
            "an end that wraps around",
            // 2^63 - 1 and 2^63 + 1 elements.
            tensor(max, &[3, THIRD], &[THIRD, 1]),
            "out of its storage",
        ),
        (
            "a shape whose product overflows",
            tensor(0, &[max, max], &[max, 1]),
            "2^64",
        ),
        (
            "a shape out of the storage",
            tensor(0, &[7], &[1]),
            "out of its storage",
        ),
        (
            "a negative length",
            tensor(0, &[-2], &[1]),
            "whole numbers from 0",
        ),
        (
            "a stride of 0 (one element for many)",
            tensor(0, &[6], &[0]),
            "not contiguous",
        ),
        (
            "a transposed tensor",
            tensor(0, &[3, 2], &[1, 3]),
            "not contiguous",
        ),
        (
            "shape and strides of different lengths",
            tensor(0, &[6], &[1, 1]),
            "not contiguous",
        ),
        (
            "a tensor of 100 dimensions",
            tensor(0, &[1; 100], &[1; 100]),
            "dimensions",
        ),
        (
            "a shape of texts",
            written(&op::tuple(&[op::text("6")]), &numbers(&[1]), 0),
            "whole numbers",
        ),
        (
            "a value that is no tensor",
            file(op::dict("w", b"K\x01")),
            "\"w\" that is not a tensor",
        ),
        (
            "a key that is no text",
            file(pickle(&[op::BEGIN, b"K\x01K\x02s."])),
            "key that is not text",
        ),
        (
            "a tensor twice",
            {
                let sound = op::sound();
                let item = &sound[op::BEGIN.len()..sound.len() - 1];
                file(pickle(&[op::BEGIN, item, item, b"."]))
            },
            "twice",
        ),
        (
            "a dictionary of dictionaries",
            file(op::dict("model", &pickle(&[b"}", &op::text("a"), b"}s"]))),
            "not a tensor; save model.state_dict() itself",
        ),
        (
            "a dictionary that contains itself",
            file(pickle(&[b"\x80\x02}q\x00", &op::text("me"), b"h\x00s."])),
            "not a tensor",
        ),
    ]
}
