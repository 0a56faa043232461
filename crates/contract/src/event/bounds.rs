//! How much memory bodies may take as models: an empty object can take a thousand times as much as in JSON.

use super::DecodeError;

/// The most objects that a body may have.
pub const MOST_OBJECTS: usize = 20_000;

/// So many values that are no objects count as one: text, numbers and lists that a model does not know.
const VALUES: usize = 16;

/// Refuses a body that has too many objects.
///
/// Braces in texts are counted too, since a body that has so many is no event's and no hook's anyway.
pub fn check_objects(body: &[u8]) -> Result<(), DecodeError> {
    if objects(body) > MOST_OBJECTS {
        let message = format!("it has more than {MOST_OBJECTS} objects");
        return Err(DecodeError { path: ".".into(), message });
    }
    Ok(())
}

/// How much a body weighs as a model, in objects.
pub fn weight(body: &[u8]) -> usize {
    objects(body) + memchr::memchr_iter(b',', body).count() / VALUES
}

fn objects(body: &[u8]) -> usize {
    memchr::memchr_iter(b'{', body).count()
}
