//! Which build of the program is packed.

/// The programs that are packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    Release,
    /// What the tests have built anyway: for trying out how it is packed.
    Debug,
}

impl Profile {
    pub(super) const fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }

    /// How hard `dpkg-deb` packs.
    pub(super) const fn packing(self) -> &'static str {
        match self {
            Self::Release => "-z6",
            Self::Debug => "-z0",
        }
    }

    pub(super) const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["--release"],
            Self::Debug => &[],
        }
    }
}
