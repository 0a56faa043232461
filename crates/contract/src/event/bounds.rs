//! Memory bounds of decoded bodies: an empty object can take a thousand times its size in JSON.

use super::DecodeError;

/// The most objects that a body may have.
pub const MAX_OBJECTS: usize = 20_000;

/// The number of values besides objects (text, numbers and lists unknown to a model) that count as one object.
const VALUES: usize = 16;

/// Refuses a body that has too many objects.
///
/// Braces in texts are counted too: a body with that many is no event or hook anyway.
pub fn check_objects(body: &[u8]) -> Result<(), DecodeError> {
    if objects(body) > MAX_OBJECTS {
        let message = format!("it has more than {MAX_OBJECTS} objects");
        return Err(DecodeError { path: ".".into(), message });
    }
    Ok(())
}

/// The memory estimate of a decoded body, in objects.
pub fn weight(body: &[u8]) -> usize {
    objects(body) + memchr::memchr_iter(b',', body).count() / VALUES
}

fn objects(body: &[u8]) -> usize {
    memchr::memchr_iter(b'{', body).count()
}
