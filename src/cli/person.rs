//! The person at the terminal, when there is one: asked in a thread of its own, so
//! that everything else, a signal for instance, is attended to while they think.
//!
//! Lines are read as the terminal edits them, never key by key: whatever ends this
//! program, the terminal is left as it was.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::progress;

/// Somebody who can be asked. Clones ask the same person, one question at a time.
#[derive(Clone)]
pub(super) struct Person(Arc<Mutex<Box<dyn Read + Send>>>);

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person")
    }
}

impl Person {
    /// Longest answer taken.
    const LONGEST: usize = 1024;

    /// Whoever types into `input`.
    pub(super) fn at(input: Box<dyn Read + Send>) -> Self {
        Self(Arc::new(Mutex::new(input)))
    }

    /// Writes `question` and waits for a line; the end of the input is an error.
    pub(super) async fn ask(&self, question: String) -> io::Result<String> {
        let (answer, answered) = oneshot::channel();
        let input = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits any more when the program is being stopped.
            let _ = answer.send(progress::aside(|| exchange(&question, &mut **input)));
        });
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        answered.await.map_err(|_| gone())?
    }

    /// Asks for yes or no, where anything but yes is no.
    pub(super) async fn agrees(&self, question: &str) -> io::Result<bool> {
        let answer = self.ask(format!("{question} [y/N] ")).await?;
        Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
    }

    /// Tells something that needs no answer.
    pub(super) fn tell(text: &str) {
        // There is no other place to say it.
        progress::aside(|| {
            let _ = io::stderr().write_all(text.as_bytes());
        });
    }
}

fn exchange(question: &str, input: &mut dyn Read) -> io::Result<String> {
    io::stderr().write_all(question.as_bytes())?;
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() < Person::LONGEST => line.extend(byte),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_a_line_and_only_yes_is_yes() {
        let person = Person::at(Box::new(io::Cursor::new("y\nYES\r\nno\n\nyesterday\nlast")));
        for want in [true, true, false, false, false] {
            assert_eq!(person.agrees("?").await.unwrap(), want);
        }
        assert_eq!(person.ask(String::new()).await.unwrap(), "last");
        let end = person.clone().agrees("?").await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
