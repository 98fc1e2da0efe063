//! Any bytes as the columns of a frame in a recording that is whole but for them: their checksums fit.
#![no_main]

#[path = "read.rs"]
mod read;

libfuzzer_sys::fuzz_target!(|input: (u16, u32, &[u8])| {
    let (records, raw_len, plain) = input;
    let Ok(packed) = zstd::bulk::compress(plain, 1) else { return };
    let mut fields = Vec::new();
    [0u64, 0, 1_000, 2_000, 0, 0].iter().for_each(|field| fields.extend_from_slice(&field.to_le_bytes()));
    let lens = [u32::from(records), raw_len % (1 << 20), plain.len() as u32, packed.len() as u32];
    lens.iter().for_each(|field| fields.extend_from_slice(&field.to_le_bytes()));
    fields.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    fields.extend_from_slice(&[0; 4]);
    let json = br#"{"tool":"","anonymized":false,"meta":{"host":{"kernel":"","arch":"","cpus":2,"nodes":[],"distances":[]},"target":{"kind":"all","label":""},"sources":[],"start_ns":0,"start_wall_ns":0},"topology":{"cpus":[],"nodes":[],"distances":[]}}"#;
    let mut head = b"NUMATRCE\x01\0\x01\0\0\0\0\0".to_vec();
    head.extend_from_slice(&(json.len() as u32).to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(json);
    read::everything(&[part(b"NTHD", &head), part(b"NTFR", &fields), packed].concat());
});

fn part(tag: &[u8; 4], rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u32 + 8).to_le_bytes();
    [&0x184D_2A5E_u32.to_le_bytes()[..], &len, tag, &crc32c::crc32c(rest).to_le_bytes(), rest].concat()
}
