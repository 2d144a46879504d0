//! The arguments and variables of this process, which others can read: where they are, and overwriting them.

use libc::c_char;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The arguments and the environment that the kernel gave this process, which others can read as long as it runs.
///
/// A program that does not start with [`c_main`] has none as far as we know.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers where the arguments are.
///
/// # Safety
/// `argv` is what `main` was given: an array of C strings that ends with a null pointer and stays where it is.
pub unsafe fn remember_arguments(argv: *mut *mut c_char) {
    ARGUMENTS.store(argv, Ordering::Relaxed);
}

/// Overwrites argument `index` of this process, counted from the program's name, from byte `from` on. The caller is
/// single-threaded, so that nobody reads it meanwhile.
pub fn overwrite_argument(index: usize, from: usize) {
    let argv = ARGUMENTS.load(Ordering::Relaxed);
    if argv.is_null() {
        return;
    }
    for at in 0..=index {
        // SAFETY: as `remember_arguments` was promised, the array goes on until a null pointer, which ends the loop.
        let argument = unsafe { *argv.add(at) };
        if argument.is_null() {
            return;
        }
        if at == index {
            // SAFETY: it is a C string in memory of this process that it may write, proc(5).
            unsafe { overwrite(argument, from) };
        }
    }
}

/// Overwrites the value of each variable `name` of this process, which is an empty one afterwards, unless the process is
/// somebody else's program, who may need it. The caller is single-threaded, and nobody keeps a reference to it.
pub fn overwrite_variable(name: &[u8]) {
    if ARGUMENTS.load(Ordering::Relaxed).is_null() {
        return;
    }
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: the caller is single-threaded, so that nobody changes `environ`, environ(7).
    let mut at = unsafe { environ };
    while !at.is_null() {
        // SAFETY: `environ` is an array of C strings that ends with a null pointer.
        let variable = unsafe { *at };
        if variable.is_null() {
            return;
        }
        // SAFETY: the string is there as long as the variable is.
        let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
        if text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"=")) {
            // SAFETY: as above; the borrow has ended.
            unsafe { overwrite(variable, name.len() + 1) };
        }
        // SAFETY: the null pointer that ends the array has not come yet.
        at = unsafe { at.add(1) };
    }
}

/// # Safety
/// `text` is a C string that may be written and that nobody else uses.
unsafe fn overwrite(text: *mut c_char, from: usize) {
    let mut at = 0;
    // SAFETY: the bytes up to the NUL that ends the string are of it.
    while unsafe { *text.add(at) } != 0 {
        if at >= from {
            // SAFETY: as above. Volatile, so that it is done though nobody reads it.
            unsafe { text.add(at).write_volatile(0) };
        }
        at += 1;
    }
}

/// The C entry point for a program whose `main` is `$main`, a function that returns a C exit code.
///
/// Without the standard library's own start the caller's disposition of SIGPIPE stays as it is, for the command to
/// inherit, and a start is 0.1 ms shorter: it would look for the stack's guard page in `/proc/self/maps`.
#[macro_export]
macro_rules! c_main {
    ($main:path) => {
        // SAFETY: no other function of the program has this name; libc calls it once, as the type says.
        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, arguments: *mut *mut ::std::ffi::c_char) -> i32 {
            // SAFETY: these are the arguments of the process.
            unsafe { $crate::remember_arguments(arguments) };
            $main()
        }
    };
}
