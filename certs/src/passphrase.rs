//! Passphrases: from the environment, a file descriptor or a prompt, never from an argument.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use peabiru_proto::language::Language;
use zeroize::Zeroizing;

use crate::CertsError;

/// Opens key files. Overwritten in memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// Where a passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The variable with this name.
    Environment(String),
    /// An inherited file descriptor, read to its end; one trailing line break is dropped.
    FileDescriptor(u32),
    /// The terminal.
    Prompt,
}

impl PassphraseSource {
    /// What an operator's program does: the descriptor if one is named, else the variable if it is set, else a prompt.
    #[must_use]
    pub fn choose(descriptor: Option<u32>) -> Self {
        match descriptor {
            Some(number) => Self::FileDescriptor(number),
            None if std::env::var_os(VARIABLE).is_some() => Self::Environment(VARIABLE.to_owned()),
            None => Self::Prompt,
        }
    }

    /// Asks for the passphrase of `what`.
    ///
    /// # Errors
    /// `Passphrase` says why there is none, or that it is empty.
    pub fn read(&self, what: &str) -> Result<Passphrase, CertsError> {
        let failed = |reason: String| CertsError::Passphrase { what: what.to_owned(), reason };
        let text = match self {
            Self::Environment(name) => {
                Zeroizing::new(std::env::var(name).map_err(|error| failed(format!("{name}: {error}")))?)
            }
            Self::FileDescriptor(number) => read_descriptor(*number).map_err(failed)?,
            Self::Prompt => {
                let language = Language::of_environment(|name| std::env::var(name).ok());
                let prompt = format!("{} {what}: ", language.of_both("Contraseña para", "Passphrase for"));
                Zeroizing::new(rpassword::prompt_password(prompt).map_err(|error| failed(error.to_string()))?)
            }
        };
        Passphrase::new(text).ok_or_else(|| failed("it is empty".to_owned()))
    }
}

impl Passphrase {
    /// Takes a text over; none if it is empty.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Opened by its path under /dev/fd: taking over a raw descriptor would need unsafe code.
fn read_descriptor(number: u32) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let path = format!("/dev/fd/{number}");
    let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    file.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text).map_err(|error| format!("{path}: {error}"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// The variable that programs look at.
pub const VARIABLE: &str = "PEABIRU_PASSPHRASE";
/// No passphrase is longer.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
