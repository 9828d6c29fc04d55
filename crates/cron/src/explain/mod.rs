//! Schedules in plain words, and what is surprising about them.
//!
//! What is said is made of the parsed sets, not of the text: two texts that mean the same read the same. [`reading`] finds
//! the form (times of day, every so often, which days), [`english`] and [`korean`] put it into words, [`warnings`] says what
//! people do not expect.
//!
//! Not known here: what time it is, and what a CronJob does with an instant.

mod english;
mod korean;
mod reading;
mod warnings;

use std::str::FromStr;

use crate::schedule::{Schedule, zone_in};
use crate::zone::Zone;
use reading::Reading;

pub use warnings::{Warning, warning_of_text, warnings};

/// A language in which schedules are explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Korean.
    Korean,
}

/// A text that names no [`Language`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be en or ko")]
pub struct UnknownLanguage;

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        match text {
            "en" => Ok(Self::English),
            "ko" => Ok(Self::Korean),
            _ => Err(UnknownLanguage),
        }
    }
}

/// The schedule as a sentence, its zone named at the end.
pub fn explain(schedule: &Schedule, language: Language) -> String {
    let reading = Reading::of(schedule);
    match language {
        Language::English => english::sentence(&reading),
        Language::Korean => korean::sentence(&reading),
    }
}

/// What was probably meant by the name of a zone that there is not.
pub fn zone_hint(name: &str, language: Language) -> Option<String> {
    let meant = Zone::spelt_like(name)?;
    Some(match language {
        Language::English => format!("upper and lower case matter: {meant}"),
        Language::Korean => format!("대소문자를 구분합니다: {meant}"),
    })
}

/// Upstream's error texts say what is wrong; this says what was probably meant, where that is known.
pub fn hint(text: &str, language: Language) -> Option<String> {
    let Some(zone) = zone_in(text) else {
        return hint_of_fields(text, language).map(str::to_owned);
    };
    match text.split_once(' ') {
        Some((_, rest)) => {
            zone_hint(zone, language).or_else(|| hint_of_fields(rest.trim(), language).map(str::to_owned))
        }
        None => Some(match language {
            Language::English => format!("after TZ={zone} there must be a blank and the schedule"),
            Language::Korean => format!("TZ={zone} 뒤에 빈칸과 스케줄이 있어야 합니다"),
        }),
    }
}

fn hint_of_fields(text: &str, language: Language) -> Option<&'static str> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let of = |english, korean| {
        Some(match language {
            Language::English => english,
            Language::Korean => korean,
        })
    };
    match fields[..] {
        ["@reboot"] => of(
            "a CronJob cannot run when a machine starts; a DaemonSet does",
            "CronJob은 부팅할 때 실행할 수 없습니다. DaemonSet을 쓰세요",
        ),
        [_, _, _, _, _, _] => of(
            "there is no field for seconds or years: leave the first or the last one out",
            "초나 연도 필드는 없습니다. 첫 번째나 마지막 필드를 빼세요",
        ),
        [_, _, _, _, weekday] if weekday.contains('7') => of("Sunday is 0, not 7", "일요일은 7이 아니라 0입니다"),
        _ if ['L', 'W', '#', 'H'].iter().any(|mark| text.contains(*mark)) => of(
            "L, W, # and H are not understood: a date is a number from 1 to 31, a weekday one from 0 to 6",
            "L, W, #, H는 쓸 수 없습니다. 날짜는 1~31, 요일은 0~6으로 적습니다",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
