//! PostgreSQL's hash of bytes, which is Bob Jenkins's lookup3 (2006) with sums and rotations of its own.

const GOLDEN: u32 = 0x9e37_79b9;
const SEED: u32 = 3_923_095;

/// As `hashtext` gives it.
pub(super) fn of_bytes(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let start = GOLDEN.wrapping_add(length).wrapping_add(SEED);
    let mut state = [start; 3];
    let mut parts = bytes.chunks_exact(12);
    for part in &mut parts {
        for (word, four) in state.iter_mut().zip(part.chunks_exact(4)) {
            *word = word.wrapping_add(little_endian(four));
        }
        mix(&mut state);
    }
    let rest = parts.remainder();
    let (first, others) = rest.split_at(rest.len().min(4));
    let (second, third) = others.split_at(others.len().min(4));
    state[0] = state[0].wrapping_add(little_endian(first));
    state[1] = state[1].wrapping_add(little_endian(second));
    // The lowest byte of the last word is left to the length.
    state[2] = state[2].wrapping_add(little_endian(third) << 8);
    finish(&mut state);
    state[2]
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

fn mix([a, b, c]: &mut [u32; 3]) {
    for turn in [[4, 6, 8], [16, 19, 4]] {
        *a = a.wrapping_sub(*c) ^ c.rotate_left(turn[0]);
        *c = c.wrapping_add(*b);
        *b = b.wrapping_sub(*a) ^ a.rotate_left(turn[1]);
        *a = a.wrapping_add(*c);
        *c = c.wrapping_sub(*b) ^ b.rotate_left(turn[2]);
        *b = b.wrapping_add(*a);
    }
}

fn finish([a, b, c]: &mut [u32; 3]) {
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(14));
    *a = (*a ^ *c).wrapping_sub(c.rotate_left(11));
    *b = (*b ^ *a).wrapping_sub(a.rotate_left(25));
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(16));
    *a = (*a ^ *c).wrapping_sub(c.rotate_left(4));
    *b = (*b ^ *a).wrapping_sub(a.rotate_left(14));
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(24));
}
