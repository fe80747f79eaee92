//! What can be wrong with a stick, and what a booth has to say of it.

/// What is wrong with a stick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A configuration of more than 64 KiB.
    HugeFile,
    /// One with an unknown key, beside folders in folders and many names.
    DeepTree,
    /// A link to a file of the system's that holds secrets.
    LinkToSecret,
    /// A link to a device.
    LinkToDevice,
    /// A folder in the place of the file.
    Folder,
    /// A FIFO in its place.
    Fifo,
    /// A device in its place.
    Device,
    /// Bytes that are no text.
    NotText,
    /// Text with NUL in it.
    Nul,
    /// Half the image is not there.
    Truncated,
    /// Bytes of the file system's structures are others, here and there.
    Corrupted,
    /// Whole blocks are.
    CorruptedBlocks,
    /// A chain of clusters goes round (FAT); a file's blocks are others' (ext4); corrupted (exFAT).
    Loop,
    /// A section and keys that there are not.
    UnknownKeys,
    /// Numbers that no type holds.
    HugeNumbers,
    /// Arrays in arrays, tables in tables.
    DeeplyNested,
    /// A configuration like any other, over a limit.
    OverLimits,
    /// Text that looks like TOML.
    Babble,
    /// A request for a factory reset, of another booth, or with something else in its place.
    ResetOfAnother,
    /// A good configuration without the operator's signature.
    Unsigned,
    /// With another's.
    SignedByAnother,
    /// With the operator's of another file.
    SignatureOfAnother,
    /// With a FIFO, a folder or a huge file in the place of the signature.
    SignatureUnfit,
    /// Signed by the operator, on a corrupted stick: what is applied must be what was signed.
    SignedCorrupted,
    /// A file system that asks for the machine to be stopped where it is damaged (ext4), and is.
    AsksForPanic,
    /// The answer cannot be put where it belongs.
    AnswerInTheWay,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::HugeFile,
        Self::DeepTree,
        Self::LinkToSecret,
        Self::LinkToDevice,
        Self::Folder,
        Self::Fifo,
        Self::Device,
        Self::NotText,
        Self::Nul,
        Self::Truncated,
        Self::Corrupted,
        Self::CorruptedBlocks,
        Self::Loop,
        Self::UnknownKeys,
        Self::HugeNumbers,
        Self::DeeplyNested,
        Self::OverLimits,
        Self::Babble,
        Self::ResetOfAnother,
        Self::Unsigned,
        Self::SignedByAnother,
        Self::SignatureOfAnother,
        Self::SignatureUnfit,
        Self::SignedCorrupted,
        Self::AsksForPanic,
        Self::AnswerInTheWay,
    ];

    /// Whether it is for a booth with an operator.
    pub fn has_operator(self) -> bool {
        matches!(
            self,
            Self::Unsigned
                | Self::SignedByAnother
                | Self::SignatureOfAnother
                | Self::SignatureUnfit
                | Self::SignedCorrupted
        )
    }

    /// Whether the damage may hide the files, or be somewhere where it does no harm.
    pub fn is_luck(self) -> bool {
        matches!(
            self,
            Self::Truncated
                | Self::Corrupted
                | Self::CorruptedBlocks
                | Self::Loop
                | Self::SignedCorrupted
                | Self::AsksForPanic
        )
    }

    /// What the reason has to say.
    pub fn reason(self) -> &'static str {
        match self {
            Self::HugeFile => "larger than 64 KiB",
            Self::LinkToSecret | Self::LinkToDevice => "symbolic link",
            Self::Folder | Self::Fifo | Self::Device => "is no file",
            Self::NotText => "not UTF-8",
            Self::Nul => "holobooth.toml:3:",
            Self::DeeplyNested | Self::HugeNumbers => "holobooth.toml:2:",
            Self::UnknownKeys | Self::DeepTree | Self::AnswerInTheWay => "unknown field",
            Self::OverLimits | Self::Babble => "holobooth.toml:",
            Self::ResetOfAnother => "factory-reset",
            Self::Unsigned => "holobooth.toml.minisig is missing",
            Self::SignedByAnother | Self::SignatureOfAnother => "not the operator's signature",
            Self::SignatureUnfit => "holobooth.toml.minisig",
            _ => "",
        }
    }
}
