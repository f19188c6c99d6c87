//! Buffers that a thread keeps, so that a convolution allocates nothing of its own after the first.

use crate::simd::Element;

/// Calls `work` with `length` entries of any content, at the start of a cache line.
pub(crate) fn with<T: Element, R>(length: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    // taken out, so that another task that this thread may steal meanwhile finds none, not a lock
    let mut buffer = T::scratch().take();
    let spare = LINE / size_of::<T>();
    if buffer.len() < length + spare {
        buffer.resize(length + spare, T::ZERO);
    }
    let start = buffer.as_ptr().align_offset(LINE).min(spare);
    let result = work(&mut buffer[start..start + length]);
    T::scratch().set(buffer);
    result
}
