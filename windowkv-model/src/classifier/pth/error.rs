/// Why a PyTorch file was refused. Nothing of the file has been executed, ever.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PthError {
    /// PyTorch's format before 1.6 (2020): a bare pickle stream.
    #[error(
        "is in PyTorch's format from before 2020 (a bare pickle), which is not read; load it in PyTorch and save it \
         again with torch.save, or as safetensors"
    )]
    Legacy,
    /// PyTorch's oldest format, a tar archive.
    #[error(
        "is in PyTorch's tar format from before 2018, which is not read; load it in PyTorch and save it again with \
         torch.save, or as safetensors"
    )]
    LegacyTar,
    /// A TorchScript program.
    #[error("is a TorchScript program, not a state dict; save model.state_dict() with torch.save")]
    TorchScript,
    /// Not a zip archive at all.
    #[error(
        "is not a file that torch.save wrote: it does not begin with a zip archive; give the .pth of a state dict"
    )]
    NotAnArchive,
    /// The archive's structure is wrong.
    #[error("is not a valid archive: {reason}; download it again")]
    Archive {
        /// What is wrong, with the offending value.
        reason: String,
    },
    /// An entry is compressed or encrypted, which torch.save never does.
    #[error(
        "has the entry {name:?} that is {how}; torch.save only stores entries, so this is not its work"
    )]
    NotStored {
        /// The entry.
        name: String,
        /// "compressed (method 8)" or "encrypted".
        how: String,
    },
    /// An entry's name could point out of the archive.
    #[error(
        "has an entry named {name:?}; names are one folder and plain parts below it, so this is not torch.save's work"
    )]
    EntryName {
        /// The name, cut to a readable length.
        name: String,
    },
    /// Something is larger than what any state dict needs.
    #[error("has {found} {what}; at most {limit} are read")]
    Limit {
        /// What was counted, in the plural.
        what: &'static str,
        /// How many there are, or the count at which reading stopped.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The file, an entry or the pickle stream ends too early.
    #[error("is truncated: {what} ends too early; download it again")]
    Truncated {
        /// What ended.
        what: String,
    },
    /// The pickle stream uses an operation that a state dict does not need.
    #[error(
        "uses the pickle operation {opcode:#04x} at byte {position}, which a state dict does not need; save \
         model.state_dict() with torch.save, or use safetensors"
    )]
    Opcode {
        /// The operation's byte.
        opcode: u8,
        /// Where it stands in data.pkl.
        position: usize,
    },
    /// The pickle stream names a Python object that a state dict does not need.
    #[error(
        "asks for the Python object {name:?}, which a state dict does not need and which is never loaded; save \
         model.state_dict() with torch.save, or use safetensors"
    )]
    Global {
        /// Module and name.
        name: String,
    },
    /// The pickle stream does not make sense.
    #[error("has a broken data.pkl: {reason} (byte {position}); download it again")]
    Pickle {
        /// What is wrong.
        reason: &'static str,
        /// Where in data.pkl.
        position: usize,
    },
    /// A tensor or its storage is not what it says.
    #[error("has the tensor {name:?} {reason}")]
    Tensor {
        /// The tensor's name, or its storage's key.
        name: String,
        /// What is wrong, as the rest of a sentence.
        reason: String,
    },
    /// The operating system failed to read the file.
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
}

impl PthError {
    pub(super) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive {
            reason: reason.into(),
        }
    }

    /// [`PthError::Truncated`] for an end of file, [`PthError::Io`] for the rest.
    pub(super) fn read(what: &str, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Truncated {
                what: what.to_owned(),
            },
            _ => Self::Io(error),
        }
    }

    /// Refuses a count over its limit.
    pub(super) fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), Self> {
        if found > limit {
            return Err(Self::Limit { what, found, limit });
        }
        Ok(())
    }
}
