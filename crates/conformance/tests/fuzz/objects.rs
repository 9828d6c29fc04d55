//! Bodies, patches and apply configurations: reading, defaulting, checking, merging, writing.

use std::rc::Rc;

use fastrand::Rng;
use rota_api::apply::{self, Writer};
use rota_api::codec::{self, FieldValidation, Format};
use rota_api::print::{self, IncludeObject};
use rota_api::validate::{self, Checks};
use rota_api::{Object, PatchKind, Resource, Timestamp, defaults, patch, strategy};
use serde_json::Value;

use crate::corpus::{Body, Corpus, Patch};
use crate::mutate;
use crate::runner::Target;

const CHECKS: Checks = Checks {
    schedule: rota_cron::check_schedule,
    time_zone: rota_cron::check_time_zone,
};

/// Bytes near `bytes`: as a document where they are one, half of the time, else as bytes.
fn near(rng: &mut Rng, bytes: &[u8], other: &[u8], format: Format) -> Vec<u8> {
    if format != Format::Protobuf
        && rng.bool()
        && let (Ok(one), Ok(other)) = (codec::read(bytes, format), codec::read(other, format))
        && let Ok(bytes) = codec::encode(&mutate::document(rng, &one.value, &other.value), format)
    {
        return bytes;
    }
    mutate::bytes(rng, bytes, other)
}

/// What is done with an object before it is stored and when it is shown.
fn through_the_rules(resource: &'static Resource, value: &Value) -> String {
    let mut value = value.clone();
    defaults::apply(resource, &mut value);
    strategy::prepare_create(resource, &mut value);
    let errors = validate::create(resource, &value, &CHECKS);
    let warned = strategy::warnings(resource, &value, None, None).len();
    let object = Object::from_value(resource, value);
    let table = print::table(
        resource,
        &[object.into()],
        IncludeObject::Metadata,
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(1));
    let fields: Vec<String> = errors.iter().map(|error| error.to_string()).take(3).collect();
    format!("{} {warned} {}", resource.kind, fields.join(" "))
}

/// Bodies of requests.
pub(crate) struct Bodies(pub(crate) Vec<Body>);

impl Target for Bodies {
    type Input = Body;

    fn seeds(&mut self) -> Vec<Body> {
        std::mem::take(&mut self.0)
    }

    fn mutate(&mut self, rng: &mut Rng, input: &Body, other: &Body) -> Body {
        let bytes = near(rng, &input.bytes, &other.bytes, input.format);
        Body { bytes, ..input.clone() }
    }

    fn size(&self, input: &Body) -> usize {
        input.bytes.len()
    }

    fn feed(&mut self, input: &Body) -> String {
        let read = |validation| codec::decode(input.resource.schema, &input.bytes, input.format, validation);
        let lenient = read(FieldValidation::Ignore);
        let strict = read(FieldValidation::Strict);
        let warned = read(FieldValidation::Warn);
        let decoded = match lenient {
            Ok(decoded) => decoded,
            Err(error) => {
                assert!(strict.is_err() && warned.is_err(), "strict reading is not more lenient");
                return error.to_string();
            }
        };
        let warned = warned.expect("unknown fields are no reason to refuse");
        assert_eq!(warned.value, decoded.value, "warnings change nothing");
        if input.format != Format::Protobuf {
            assert_eq!(
                strict.is_ok(),
                warned.warnings.is_empty(),
                "strict reading refuses what is warned of"
            );
        }
        written_and_read_again(input.resource, &decoded.value);
        through_the_rules(input.resource, &decoded.value)
    }
}

/// What is written must be read as the same.
fn written_and_read_again(resource: &'static Resource, value: &Value) {
    let mut value = value.clone();
    value["apiVersion"] = resource.api_version().into();
    value["kind"] = resource.kind.into();
    let again = |value: &Value, format| {
        let bytes =
            codec::encode(value, format).unwrap_or_else(|error| panic!("{format:?} cannot be written: {error}"));
        codec::decode(resource.schema, &bytes, format, FieldValidation::Strict)
            .unwrap_or_else(|error| panic!("{format:?} cannot be read again: {error}"))
            .value
    };
    for format in [Format::Json, Format::Yaml] {
        assert_eq!(again(&value, format), value, "{format:?}");
    }
    // Protobuf knows no difference between what is empty and what is not there; once that is gone, it loses nothing.
    let plain = again(&value, Format::Protobuf);
    assert_eq!(again(&plain, Format::Protobuf), plain, "protobuf");
}

/// Patches of recorded objects.
pub(crate) struct Patches {
    patches: Vec<Patch>,
    objects: Rc<Vec<(&'static Resource, Value)>>,
}

/// A patch and what it is a patch of.
#[derive(Clone, Debug)]
pub(crate) struct Patching {
    patch: Patch,
    original: Value,
}

impl Patches {
    pub(crate) fn new(corpus: Corpus) -> Self {
        Self {
            patches: corpus.patches,
            objects: Rc::new(corpus.objects),
        }
    }

    fn original(&self, rng: &mut Rng, resource: &'static Resource) -> Value {
        let fitting: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(of, _)| *of == resource)
            .map(|(_, object)| object)
            .collect();
        rng.choice(fitting).cloned().unwrap_or_else(|| serde_json::json!({}))
    }
}

impl Target for Patches {
    type Input = Patching;

    fn seeds(&mut self) -> Vec<Patching> {
        let mut rng = Rng::with_seed(1);
        let mut seeds: Vec<Patching> = Vec::new();
        for patch in std::mem::take(&mut self.patches) {
            let original = self.original(&mut rng, patch.resource);
            seeds.push(Patching { patch, original });
        }
        // Every object is a patch, too.
        for (number, (resource, object)) in self.objects.iter().enumerate().filter(|(number, _)| number % 4 == 0) {
            let kinds = [PatchKind::Merge, PatchKind::Strategic];
            let patch = Patch {
                resource,
                kind: kinds[number / 4 % kinds.len()],
                bytes: object.to_string().into_bytes(),
            };
            let original = self.original(&mut rng, resource);
            seeds.push(Patching { patch, original });
        }
        seeds
    }

    fn mutate(&mut self, rng: &mut Rng, input: &Patching, other: &Patching) -> Patching {
        let format = if input.patch.kind == PatchKind::Apply {
            Format::Yaml
        } else {
            Format::Json
        };
        let bytes = near(rng, &input.patch.bytes, &other.patch.bytes, format);
        let kind = if rng.u8(0..8) == 0 {
            other.patch.kind
        } else {
            input.patch.kind
        };
        let original = match rng.u8(0..4) {
            0 => self.original(rng, input.patch.resource),
            1 => {
                // Only what could be stored is ever patched.
                let near = mutate::document(rng, &input.original, &other.original);
                let conforming = codec::conform(input.patch.resource.schema, near, FieldValidation::Ignore);
                conforming.map_or_else(|_| input.original.clone(), |decoded| decoded.value)
            }
            _ => input.original.clone(),
        };
        Patching {
            patch: Patch {
                kind,
                bytes,
                ..input.patch
            },
            original,
        }
    }

    fn size(&self, input: &Patching) -> usize {
        input.patch.bytes.len() + input.original.to_string().len()
    }

    fn feed(&mut self, input: &Patching) -> String {
        let Patch { resource, kind, bytes } = &input.patch;
        let document = match patch::read(*kind, bytes) {
            Ok(document) => document,
            Err(error) => return error.to_string(),
        };
        if *kind == PatchKind::Apply {
            return "an apply configuration".to_owned();
        }
        let (value, repeated) = (&document.value, &document.repeated);
        let patched = |validation| patch::patched(resource.schema, *kind, &input.original, value, repeated, validation);
        let strict = patched(FieldValidation::Strict);
        let mut new = match patched(FieldValidation::Ignore) {
            Ok(decoded) => decoded.value,
            Err(error) => {
                assert!(strict.is_err(), "strict patching is not more lenient");
                return error.to_string();
            }
        };
        if *kind == PatchKind::Merge {
            let again = patch::patched(resource.schema, *kind, &new, value, repeated, FieldValidation::Ignore);
            assert_eq!(
                again.map(|decoded| decoded.value),
                Ok(new.clone()),
                "a merge patch can be repeated"
            );
        }
        defaults::apply(resource, &mut new);
        strategy::prepare_update(resource, &mut new, &input.original, None);
        let errors = validate::update(resource, &new, &input.original, None, &CHECKS);
        let fields: Vec<String> = errors.iter().map(|error| error.to_string()).take(3).collect();
        format!("{} {}", resource.kind, fields.join(" "))
    }
}

/// Apply configurations, one after the other, and other writes between them.
pub(crate) struct Applies(Vec<Applying>);

/// A resource and the writes to one object of it.
#[derive(Clone, Debug)]
pub(crate) struct Applying {
    resource: &'static Resource,
    /// Which manager, whether it applies by force, whether it applies at all, and what.
    writes: Vec<(u8, bool, bool, Value)>,
}

impl Applies {
    pub(crate) fn new(corpus: Corpus) -> Self {
        let mut seeds = Vec::new();
        for patch in corpus.patches.iter().filter(|patch| patch.kind == PatchKind::Apply) {
            if let Ok(document) = patch::read(PatchKind::Apply, &patch.bytes) {
                seeds.push((patch.resource, document.value));
            }
        }
        seeds.extend(corpus.objects.into_iter().step_by(5));
        let writes = |value: Value| vec![(0, false, true, value.clone()), (1, true, true, value)];
        let seeds = seeds.into_iter().map(|(resource, value)| Applying {
            resource,
            writes: writes(value),
        });
        Self(seeds.collect())
    }
}

impl Target for Applies {
    type Input = Applying;

    fn seeds(&mut self) -> Vec<Applying> {
        std::mem::take(&mut self.0)
    }

    fn mutate(&mut self, rng: &mut Rng, input: &Applying, other: &Applying) -> Applying {
        let mut out = input.clone();
        let donor = &other.writes[0].3;
        for (manager, force, applies, value) in &mut out.writes {
            *manager = rng.u8(0..3);
            *force = rng.bool();
            *applies = rng.u8(0..3) > 0;
            if rng.bool() {
                *value = mutate::document(rng, value, donor);
            }
        }
        if rng.bool() && out.writes.len() < 5 {
            let (.., value) = &out.writes[rng.usize(0..out.writes.len())];
            let value = mutate::document(rng, value, donor);
            out.writes.push((rng.u8(0..3), rng.bool(), rng.bool(), value));
        } else if rng.u8(0..4) == 0 && out.writes.len() > 1 {
            out.writes.remove(0);
        }
        out
    }

    fn size(&self, input: &Applying) -> usize {
        input.writes.iter().map(|(.., value)| value.to_string().len()).sum()
    }

    fn feed(&mut self, input: &Applying) -> String {
        let resource = input.resource;
        let api_version = resource.api_version();
        let mut live: Option<Value> = None;
        let mut answers = Vec::new();
        for (manager, force, applies, value) in &input.writes {
            let manager = ["one", "two", "kubectl"][usize::from(*manager % 3)];
            let writer = Writer {
                manager,
                api_version: &api_version,
                subresource: None,
                now: Timestamp::UNIX_EPOCH,
            };
            let conforming = |value: Value| {
                let conforming = codec::conform(resource.schema, value, FieldValidation::Ignore);
                conforming
                    .map(|decoded| decoded.value)
                    .map_err(|error| error.to_string())
            };
            let written = if *applies {
                let applied = apply::apply(resource.schema, live.as_ref(), value, &writer, *force);
                applied.map_err(|error| error.to_string()).and_then(|new| {
                    let stored = conforming(new)?;
                    let again = apply::apply(resource.schema, Some(&stored), value, &writer, *force);
                    let mut again = again.map_err(|error| error.to_string()).and_then(conforming);
                    // Of a configuration that sets nothing no owner is kept: to the next apply the object is older than the
                    // records, and whatever it holds has been there before.
                    if stored["metadata"]["managedFields"].is_null()
                        && let Ok(again) = &mut again
                        && let Some(metadata) = again["metadata"].as_object_mut()
                    {
                        metadata.remove("managedFields");
                    }
                    assert_eq!(again.as_ref(), Ok(&stored), "what was applied can be applied again");
                    Ok(stored)
                })
            } else {
                conforming(value.clone()).map(|new| apply::track(resource.schema, live.as_ref(), new, &writer))
            };
            match written {
                Ok(new) => live = Some(new),
                Err(error) => answers.push(error),
            }
        }
        format!("{} {}", resource.kind, answers.join(" "))
    }
}
