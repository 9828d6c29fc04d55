//! Minutes of the clock, which differ from run to run: `<m1>` is the one after that in which the first CronJob was created.
//!
//! A Job's name ends in its minute since 1970; a time that is a full minute is that minute.

use jiff::Timestamp;

use crate::record::Record;

/// Minutes after the first one that have a word.
const WORDS: i64 = 60;

/// The minutes of one run.
#[derive(Clone, Copy, Debug)]
pub struct Minutes {
    first: i64,
}

impl Minutes {
    /// The minutes of what was seen; counted from now where there was no CronJob yet.
    pub fn of(record: &Record, now: Timestamp) -> Self {
        Self {
            first: minute(record.first_cron_job.unwrap_or(now)),
        }
    }

    /// The text with words for minutes.
    pub fn forget(self, text: &str) -> String {
        if let Some(word) = self.word_for_time(text) {
            return word;
        }
        let words = (0..WORDS).map(|at| ((self.first + at).to_string(), format!("<m{at}>")));
        words.fold(text.to_owned(), |text, (minute, word)| text.replace(&minute, &word))
    }

    /// The text with minutes for their words.
    pub fn fill_in(self, text: &str) -> String {
        let words = (0..WORDS).map(|at| ((self.first + at).to_string(), format!("<m{at}>")));
        words.fold(text.to_owned(), |text, (minute, word)| text.replace(&word, &minute))
    }

    fn word_for_time(self, text: &str) -> Option<String> {
        let time: Timestamp = text.parse().ok()?;
        let at = minute(time) - self.first;
        if time.as_second() % 60 != 0 || !(0..WORDS).contains(&at) {
            return None;
        }
        Some(match text.strip_suffix('Z') {
            Some(_) => format!("<m{at}>"),
            None => format!("<m{at} {}>", text.get(text.len().saturating_sub(6)..)?),
        })
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}
