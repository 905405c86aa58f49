//! The version of the C library this process runs with.

use std::ffi::CStr;

pub fn version() -> Option<String> {
    // SAFETY: takes nothing, and gives a string constant of the library, which stays.
    let text = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    text.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_two_numbers() {
        let version = super::version().expect("plain text");
        let numbers: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
        assert!(numbers >= vec![2, 28], "{version}");
    }
}
