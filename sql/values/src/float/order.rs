//! PostgreSQL's order of floats as integers: -0 equals 0, and NaN is the greatest.

/// The form in which equal doubles have equal bits: 0 for -0, one NaN for all.
pub fn key_f64(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        // Adding zero turns -0 into 0 and leaves all else.
        value + 0.0
    }
}

/// The form in which equal single floats have equal bits: 0 for -0, one NaN for all.
pub fn key_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// An integer whose order is the order of the doubles. Equal doubles have equal integers.
pub fn order_f64(value: f64) -> i64 {
    flip_i64(key_f64(value).to_bits() as i64)
}

/// The double of an integer that [`order_f64`] gave.
pub fn from_order_f64(order: i64) -> f64 {
    f64::from_bits(flip_i64(order) as u64)
}

/// An integer whose order is the order of the single floats. Equal floats have equal integers.
pub fn order_f32(value: f32) -> i32 {
    flip_i32(key_f32(value).to_bits() as i32)
}

/// The single float of an integer that [`order_f32`] gave.
pub fn from_order_f32(order: i32) -> f32 {
    f32::from_bits(flip_i32(order) as u32)
}

/// Reverses the order of negative floats, whose bits grow with their size. Its own inverse.
fn flip_i64(bits: i64) -> i64 {
    bits ^ ((bits >> 63) & i64::MAX)
}

/// As [`flip_i64`].
fn flip_i32(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}
