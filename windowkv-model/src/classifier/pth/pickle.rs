//! The pickle stream of a state dict, read as data: a machine with the few operations that torch.save uses for
//! one, where the only "objects" are dictionaries, storages and tensors. No Python object is ever made.
//!
//! Objects live in flat lists and refer to each other by index, so that no nesting in the stream becomes
//! recursion here, and every list has its limit.

use std::collections::HashMap;
use std::ops::Range;

use super::PthError;

/// The longest data.pkl, in bytes; BERT-large's has some 60 KB.
pub const MAX_PICKLE_BYTES: u64 = 1 << 22;
/// The most operations; BERT-large takes some 20,000.
pub const MAX_OPERATIONS: u64 = 1 << 19;
/// The most values that wait on the stack.
pub const MAX_STACK: u64 = 1 << 16;
/// The most remembered values.
pub const MAX_MEMO: u64 = 1 << 17;
/// How deep tuples and unfinished lists of values may be nested.
pub const MAX_DEPTH: u64 = 16;
/// The longest text in bytes; names of tensors are shorter.
pub const MAX_TEXT_BYTES: u64 = 1 << 12;
/// The most dimensions of a tensor.
const MAX_RANK: u64 = 8;

/// How a storage's elements are written, all little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    F64,
    F32,
    F16,
    Bf16,
    /// Whole numbers and booleans, which no weight is.
    Other {
        name: &'static str,
        size: u64,
    },
}

impl ElementType {
    /// Bytes of an element.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other { size, .. } => size,
        }
    }
}

/// A block of elements in an entry of its own, `data/<key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) elements: ElementType,
    pub(super) len: u64,
}

/// A contiguous tensor within a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Index in [`StateDict::storages`].
    pub(super) storage: usize,
    /// First element within the storage.
    pub(super) offset: u64,
    /// Lengths of the dimensions, the slowest first.
    pub(super) shape: Vec<u64>,
}

/// What a stream describes.
#[derive(Debug)]
pub(super) struct StateDict {
    pub(super) storages: Vec<Storage>,
    /// Name and tensor, in the order of the stream.
    pub(super) tensors: Vec<(String, View)>,
}

/// Every Python object that a stream may name.
#[derive(Debug, Clone, Copy)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Elements(ElementType),
}

impl Global {
    fn find(module: &[u8], name: &[u8]) -> Option<Self> {
        let other = |name, size| Self::Elements(ElementType::Other { name, size });
        Some(match (module, name) {
            (b"collections", b"OrderedDict") => Self::OrderedDict,
            (b"torch._utils", b"_rebuild_tensor_v2") => Self::RebuildTensor,
            (b"torch._utils", b"_rebuild_parameter") => Self::RebuildParameter,
            (b"torch", b"DoubleStorage") => Self::Elements(ElementType::F64),
            (b"torch", b"FloatStorage") => Self::Elements(ElementType::F32),
            (b"torch", b"HalfStorage") => Self::Elements(ElementType::F16),
            (b"torch", b"BFloat16Storage") => Self::Elements(ElementType::Bf16),
            (b"torch", b"LongStorage") => other("int64", 8),
            (b"torch", b"IntStorage") => other("int32", 4),
            (b"torch", b"ShortStorage") => other("int16", 2),
            (b"torch", b"CharStorage") => other("int8", 1),
            (b"torch", b"ByteStorage") => other("uint8", 1),
            (b"torch", b"BoolStorage") => other("bool", 1),
            _ => return None,
        })
    }
}

/// A value on the stack; objects by their index in the machine's lists.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// `None`, a boolean or a float: nothing that a tensor is built from.
    Plain,
    Int(i64),
    /// Where the text stands in the stream.
    Text(usize, usize),
    Tuple(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

struct Tuple {
    values: Vec<Value>,
    depth: u64,
}

struct Machine<'a> {
    stream: &'a [u8],
    position: usize,
    stack: Vec<Value>,
    /// Heights of the stack where unfinished lists of values begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    tuples: Vec<Tuple>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<View>,
}

/// Reads a stream to its end.
///
/// # Errors
/// An operation or object that is not allowed, a limit, a stream that does not make sense or does not end.
pub(super) fn state_dict(stream: &[u8]) -> Result<StateDict, PthError> {
    PthError::limit("bytes of data.pkl", stream.len() as u64, MAX_PICKLE_BYTES)?;
    let mut machine = Machine {
        stream,
        position: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        tuples: Vec::new(),
        dicts: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
    };
    let top = machine.run()?;
    machine.finish(top)
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, PthError> {
        for operations in 1_u64.. {
            PthError::limit("pickle operations", operations, MAX_OPERATIONS)?;
            if let Some(result) = self.step()? {
                return Ok(result);
            }
            PthError::limit("values on the stack", self.stack.len() as u64, MAX_STACK)?;
        }
        unreachable!("the limit on operations ends the loop")
    }

    /// One operation; the result if it was the last one.
    fn step(&mut self) -> Result<Option<Value>, PthError> {
        let position = self.position;
        let opcode = self.byte()?;
        match opcode {
            // PROTO
            0x80 => match self.byte()? {
                2..=4 => {}
                _ => return Err(self.broken("an unknown version of the protocol")),
            },
            // MARK
            b'(' => {
                self.marks.push(self.stack.len());
                PthError::limit("nested lists of values", self.marks.len() as u64, MAX_DEPTH)?;
            }
            // STOP
            b'.' => {
                let result = self.pop()?;
                return if self.position == self.stream.len() {
                    Ok(Some(result))
                } else {
                    Err(self.broken("bytes follow its end"))
                };
            }
            // NONE, NEWTRUE, NEWFALSE
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Plain),
            // BINFLOAT
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Plain);
            }
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let bytes = self.array::<4>()?;
                self.stack
                    .push(Value::Int(i32::from_le_bytes(bytes).into()));
            }
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let bytes = self.array::<2>()?;
                self.stack
                    .push(Value::Int(u16::from_le_bytes(bytes).into()));
            }
            0x8a => {
                let value = self.long()?;
                self.stack.push(Value::Int(value));
            }
            // BINUNICODE
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(len.into())?;
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.tuple(self.stack.len())?,
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(count);
                let start = start.filter(|&start| start >= self.floor());
                self.tuple(start.ok_or_else(|| self.broken("a tuple of missing values"))?)?;
            }
            b't' => {
                let start = self.mark()?;
                self.tuple(start)?;
            }
            // EMPTY_DICT
            b'}' => self.dict(),
            // SETITEM, SETITEMS
            b's' => {
                let start = self.stack.len().checked_sub(2);
                let start = start.filter(|&start| start >= self.floor());
                self.set_items(start.ok_or_else(|| self.broken("an item of missing values"))?)?;
            }
            b'u' => {
                let start = self.mark()?;
                self.set_items(start)?;
            }
            // GLOBAL
            b'c' => self.global()?,
            // BINPERSID
            b'Q' => self.storage()?,
            // REDUCE
            b'R' => self.reduce()?,
            // BUILD: attributes of the dictionary below (`_metadata`), which no weight depends on.
            b'b' => {
                self.pop()?;
                let Some(Value::Dict(_)) = self.stack.last() else {
                    return Err(self.broken("attributes of something that has none"));
                };
            }
            // BINPUT, LONG_BINPUT
            b'q' => {
                let index = self.byte()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)?;
            }
            // BINGET, LONG_BINGET
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            _ => return Err(PthError::Opcode { opcode, position }),
        }
        Ok(None)
    }

    fn broken(&self, reason: &'static str) -> PthError {
        PthError::Pickle {
            reason,
            position: self.position,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PthError> {
        let bytes = self.stream[self.position..].get(..len);
        let bytes = bytes.ok_or_else(|| PthError::Truncated {
            what: "data.pkl".to_owned(),
        })?;
        self.position += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PthError> {
        Ok(self.take(N)?.try_into().expect("of the length asked for"))
    }

    fn byte(&mut self) -> Result<u8, PthError> {
        Ok(self.take(1)?[0])
    }

    /// A whole number in as many bytes as it needs, which must not be more than 8.
    fn long(&mut self) -> Result<i64, PthError> {
        let len = self.byte()?;
        if len > 8 {
            return Err(self.broken("a number of more than 64 bits"));
        }
        let bytes = self.take(len.into())?;
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
            0xff
        } else {
            0
        };
        let mut full = [fill; 8];
        full[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(full))
    }

    fn text(&mut self, len: u64) -> Result<(), PthError> {
        PthError::limit("bytes of text", len, MAX_TEXT_BYTES)?;
        let start = self.position;
        let bytes = self.take(len as usize)?;
        if std::str::from_utf8(bytes).is_err() {
            return Err(self.broken("a text that is not UTF-8"));
        }
        self.stack.push(Value::Text(start, self.position));
        Ok(())
    }

    fn text_of(&self, range: Range<usize>) -> &'a str {
        std::str::from_utf8(&self.stream[range]).unwrap_or_default()
    }

    /// The height below which values belong to an unfinished list.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, PthError> {
        if self.stack.len() <= self.floor() {
            return Err(self.broken("a value that is missing"));
        }
        self.stack
            .pop()
            .ok_or_else(|| self.broken("a value that is missing"))
    }

    fn mark(&mut self) -> Result<usize, PthError> {
        self.marks
            .pop()
            .ok_or_else(|| self.broken("the end of a list that has no beginning"))
    }

    fn tuple(&mut self, start: usize) -> Result<(), PthError> {
        let values = self.stack.split_off(start);
        let depth = values.iter().map(|value| match value {
            Value::Tuple(index) => self.tuples[*index].depth,
            _ => 0,
        });
        let depth = 1 + depth.max().unwrap_or(0);
        PthError::limit("nested tuples", depth, MAX_DEPTH)?;
        self.tuples.push(Tuple { values, depth });
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
        Ok(())
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn set_items(&mut self, start: usize) -> Result<(), PthError> {
        let items = self.stack.split_off(start);
        if !items.len().is_multiple_of(2) {
            return Err(self.broken("a key without a value"));
        }
        if self.stack.len() <= self.floor() {
            return Err(self.broken("items of something that has none"));
        }
        let Some(&Value::Dict(index)) = self.stack.last() else {
            return Err(self.broken("items of something that has none"));
        };
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        self.dicts[index].extend(pairs);
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), PthError> {
        let value = self.stack.last().copied();
        let value = value.ok_or_else(|| self.broken("nothing to remember"))?;
        self.memo.insert(index, value);
        PthError::limit("remembered values", self.memo.len() as u64, MAX_MEMO)
    }

    fn recall(&mut self, index: u32) -> Result<(), PthError> {
        let value = self.memo.get(&index).copied();
        let value = value.ok_or_else(|| self.broken("a value that was never remembered"))?;
        self.stack.push(value);
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8], PthError> {
        const MAX_BYTES: usize = 128;
        let rest = &self.stream[self.position..];
        let searched = &rest[..rest.len().min(MAX_BYTES)];
        match searched.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                self.position += end + 1;
                Ok(&rest[..end])
            }
            None if rest.len() < MAX_BYTES => Err(PthError::Truncated {
                what: "data.pkl".to_owned(),
            }),
            None => Err(self.broken("a name of more than 128 bytes")),
        }
    }

    fn global(&mut self) -> Result<(), PthError> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::find(module, name).ok_or_else(|| PthError::Global {
            name: String::from_utf8_lossy(&[module, b".", name].concat()).into_owned(),
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn tuple_values(&self, value: Value, reason: &'static str) -> Result<&[Value], PthError> {
        match value {
            Value::Tuple(index) => Ok(&self.tuples[index].values),
            _ => Err(self.broken(reason)),
        }
    }

    /// `("storage", type, key, device, number of elements)`
    fn storage(&mut self) -> Result<(), PthError> {
        const REASON: &str = "a reference that is not to a storage";
        let id = self.pop()?;
        let (elements, key, len) = match *self.tuple_values(id, REASON)? {
            [
                Value::Text(from, to),
                Value::Global(Global::Elements(elements)),
                Value::Text(key_from, key_to),
                Value::Text(..),
                Value::Int(len),
            ] if self.text_of(from..to) == "storage" => {
                (elements, self.text_of(key_from..key_to), len)
            }
            _ => return Err(self.broken(REASON)),
        };
        let len = u64::try_from(len).map_err(|_| self.broken("a storage of negative length"))?;
        if key.is_empty() || key.len() > 20 || !key.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.broken("a storage whose key is not a number"));
        }
        // A storage that several tensors share is written out each time.
        let storage = Storage {
            key: key.to_owned(),
            elements,
            len,
        };
        self.storages.push(storage);
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), PthError> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let values = self.tuple_values(arguments, "a call without its arguments")?;
        match (callable, values) {
            (Value::Global(Global::OrderedDict), []) => self.dict(),
            (Value::Global(Global::RebuildParameter), [Value::Tensor(tensor), ..]) => {
                let tensor = Value::Tensor(*tensor);
                self.stack.push(tensor);
            }
            (
                Value::Global(Global::RebuildTensor),
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    size,
                    stride,
                    Value::Plain,
                    Value::Dict(_),
                ],
            ) => {
                let view = self.view(storage, offset, size, stride)?;
                self.tensors.push(view);
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            _ => return Err(self.broken("a call with other arguments than torch.save writes")),
        }
        Ok(())
    }

    fn view(
        &self,
        storage: usize,
        offset: i64,
        size: Value,
        stride: Value,
    ) -> Result<View, PthError> {
        let lengths = |value| -> Result<Vec<u64>, PthError> {
            const REASON: &str = "a tensor whose shape is not made of whole numbers from 0";
            let values = self.tuple_values(value, REASON)?;
            PthError::limit("dimensions of a tensor", values.len() as u64, MAX_RANK)?;
            let length = |value: &Value| match *value {
                Value::Int(length) => u64::try_from(length).map_err(|_| self.broken(REASON)),
                _ => Err(self.broken(REASON)),
            };
            values.iter().map(length).collect()
        };
        let (shape, strides) = (lengths(size)?, lengths(stride)?);
        let offset = u64::try_from(offset).map_err(|_| self.broken("a negative offset"))?;
        // Row by row without holes, as parameters are.
        let mut elements = 1_u64;
        let mut contiguous = shape.len() == strides.len();
        for (&length, &stride) in shape.iter().zip(&strides).rev() {
            contiguous &= length <= 1 || stride == elements;
            elements = elements
                .checked_mul(length)
                .ok_or_else(|| self.broken("a tensor of more than 2^64 elements"))?;
        }
        if !contiguous && elements > 0 {
            return Err(self.broken("a tensor that is not contiguous"));
        }
        let end = offset.checked_add(elements);
        if end.is_none_or(|end| end > self.storages[storage].len) {
            return Err(self.broken("a tensor that reaches out of its storage"));
        }
        Ok(View {
            storage,
            offset,
            shape,
        })
    }

    fn finish(self, top: Value) -> Result<StateDict, PthError> {
        let Value::Dict(index) = top else {
            return Err(self.broken("it describes something else than a state dict"));
        };
        let mut tensors = Vec::with_capacity(self.dicts[index].len());
        for &(key, value) in &self.dicts[index] {
            let Value::Text(start, end) = key else {
                return Err(self.broken("a state dict with a key that is not text"));
            };
            let name = self.text_of(start..end).to_owned();
            let Value::Tensor(tensor) = value else {
                let reason = "that is not a tensor; save model.state_dict() itself".to_owned();
                return Err(PthError::Tensor { name, reason });
            };
            tensors.push((name, self.tensors[tensor].clone()));
        }
        Ok(StateDict {
            storages: self.storages,
            tensors,
        })
    }
}
