//! The settings file: what it may say, and that every refusal says something.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A settings file can name files with keys in them; none is read here.
    let Some(text) = str::from_utf8(data).ok().filter(|text| !text.contains("_file")) else {
        return;
    };
    match settings::parse(text, [], "receiver.toml") {
        Ok(config) => {
            let _ = (config.check(), config.sources(), config.warnings());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
