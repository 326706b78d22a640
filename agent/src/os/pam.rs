//! System accounts: asks libpam whether a password is right. The library is loaded when a server needs it, so that machines
//! without it run as well.
//!
//! This is the one file with unsafe code: a C library that is found at run time has no safe interface. What makes it sound:
//! the signatures are those of Linux-PAM's public headers, which have not changed since 1996 (`pam_start_confdir` came with
//! 1.4); every pointer that is handed over lives until `pam_end`; and what `libpam` frees was made by `calloc` and `strdup`.

#![allow(unsafe_code, reason = "libpam is called through symbols that are looked up at run time")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libloading::{Library, Symbol};

const LIBRARY: &str = "libpam.so.0";

// Of security/_pam_types.h.
const PAM_SUCCESS: c_int = 0;
/// Answer of pam_exec for a program that says no.
const PAM_SYSTEM_ERR: c_int = 4;
const PAM_BUF_ERR: c_int = 5;
const PAM_PERM_DENIED: c_int = 6;
const PAM_AUTH_ERR: c_int = 7;
const PAM_CRED_INSUFFICIENT: c_int = 8;
const PAM_USER_UNKNOWN: c_int = 10;
const PAM_MAXTRIES: c_int = 11;
const PAM_NEW_AUTHTOK_REQD: c_int = 12;
const PAM_ACCT_EXPIRED: c_int = 13;
const PAM_CONV_ERR: c_int = 19;
const PAM_SILENT: c_int = 0x8000;
const PAM_DISALLOW_NULL_AUTHTOK: c_int = 1;
const PAM_PROMPT_ECHO_OFF: c_int = 1;
const PAM_PROMPT_ECHO_ON: c_int = 2;
const PAM_FAIL_DELAY: c_int = 10;
/// `PAM_MAX_NUM_MSG`
const MESSAGES_MAX: c_int = 32;

/// `struct pam_message`
#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

/// `struct pam_response`
#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

/// `struct pam_conv`
#[repr(C)]
struct Conversation {
    speak: extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

/// `pam_handle_t`
#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

type Start =
    unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut *mut Handle) -> c_int;
type StartConfdir = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const Conversation,
    *const c_char,
    *mut *mut Handle,
) -> c_int;
type Step = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;
type SetItem = unsafe extern "C" fn(*mut Handle, c_int, *const c_void) -> c_int;
type Words = unsafe extern "C" fn(*mut Handle, c_int) -> *const c_char;

unsafe extern "C" {
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn strdup(text: *const c_char) -> *mut c_char;
}

/// Answers to the questions of a module.
struct Answers {
    name: CString,
    password: CString,
}

/// The loaded library.
pub struct Pam(Library);

impl Pam {
    /// Loads it. The error says why there is none.
    pub fn load() -> Result<Pam, String> {
        // SAFETY: what runs at its start is the system's own libpam, which only sets up tables of its own.
        let library = unsafe { Library::new(LIBRARY) };
        library
            .map(Pam)
            .map_err(|error| format!("cannot load {LIBRARY}, which system accounts need: {error}"))
    }

    /// Whether it can be told where its services are (Linux-PAM 1.4 and later).
    pub fn knows_confdir(&self) -> bool {
        self.symbol::<StartConfdir>(c"pam_start_confdir").is_ok()
    }

    /// Whether this is the password of this account, and the account may be used. The error says why that cannot be told.
    ///
    /// It blocks for as long as the modules of the service take.
    pub fn is_right(
        &self,
        service: &str,
        confdir: Option<&Path>,
        name: &str,
        password: &str,
    ) -> Result<bool, String> {
        let (Ok(name), Ok(password)) = (CString::new(name), CString::new(password)) else { return Ok(false) };
        let service = CString::new(service).map_err(|_| "the name of the service holds a zero byte")?;
        let answers = Answers { name, password };
        let data = ptr::from_ref(&answers).cast_mut().cast();
        let conversation = Conversation { speak, data };
        let mut handle = ptr::null_mut();
        let started = self.start(&service, confdir, &answers, &conversation, &mut handle)?;
        if started != PAM_SUCCESS {
            return Err(self.words(handle, started)?);
        }
        let code = self.ask(handle)?;
        let verdict = match code {
            PAM_SUCCESS => Ok(true),
            PAM_SYSTEM_ERR
            | PAM_PERM_DENIED
            | PAM_AUTH_ERR
            | PAM_CRED_INSUFFICIENT
            | PAM_USER_UNKNOWN
            | PAM_MAXTRIES
            | PAM_NEW_AUTHTOK_REQD
            | PAM_ACCT_EXPIRED => Ok(false),
            other => Err(self.words(handle, other)?),
        };
        let end: Symbol<Step> = self.symbol(c"pam_end")?;
        // SAFETY: the handle comes from pam_start and is not used any more.
        unsafe { end(handle, code) };
        verdict
    }

    fn start(
        &self,
        service: &CStr,
        confdir: Option<&Path>,
        answers: &Answers,
        conversation: &Conversation,
        handle: &mut *mut Handle,
    ) -> Result<c_int, String> {
        let name = answers.name.as_ptr();
        let Some(confdir) = confdir else {
            let start: Symbol<Start> = self.symbol(c"pam_start")?;
            // SAFETY: all texts end with a zero byte, and the conversation outlives the handle.
            return Ok(unsafe { start(service.as_ptr(), name, conversation, handle) });
        };
        let confdir =
            CString::new(confdir.as_os_str().as_bytes()).map_err(|_| "confdir holds a zero byte")?;
        let start: Symbol<StartConfdir> = self.symbol(c"pam_start_confdir")?;
        // SAFETY: as above; libpam copies the name of the folder.
        Ok(unsafe { start(service.as_ptr(), name, conversation, confdir.as_ptr(), handle) })
    }

    /// The password, then the account: whether it has expired or is locked.
    fn ask(&self, handle: *mut Handle) -> Result<c_int, String> {
        let authenticate: Symbol<Step> = self.symbol(c"pam_authenticate")?;
        let account: Symbol<Step> = self.symbol(c"pam_acct_mgmt")?;
        let set_item: Symbol<SetItem> = self.symbol(c"pam_set_item")?;
        let no_delay: extern "C" fn(c_int, c_uint, *mut c_void) = no_delay;
        // SAFETY: the handle is open. The item is a function of the type that pam_fail_delay(3) names.
        unsafe {
            set_item(handle, PAM_FAIL_DELAY, no_delay as *const c_void);
            match authenticate(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK) {
                PAM_SUCCESS => Ok(account(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK)),
                code => Ok(code),
            }
        }
    }

    fn words(&self, handle: *mut Handle, code: c_int) -> Result<String, String> {
        let words: Symbol<Words> = self.symbol(c"pam_strerror")?;
        // SAFETY: pam_strerror(3) looks at nothing but the code and gives a constant text, or null.
        let text = unsafe {
            let text = words(handle, code);
            if text.is_null() { c"unknown error" } else { CStr::from_ptr(text) }
        };
        Ok(format!("PAM says: {} (code {code})", text.to_string_lossy()))
    }

    fn symbol<T>(&self, name: &CStr) -> Result<Symbol<'_, T>, String> {
        // SAFETY: each caller names the type that the public headers give to the symbol.
        unsafe { self.0.get(name.to_bytes_with_nul()) }
            .map_err(|error| format!("{LIBRARY} has no {}: {error}", name.to_string_lossy()))
    }
}

/// No delay: the cost of a failure is decided elsewhere, and to sleep here would keep others waiting.
extern "C" fn no_delay(_code: c_int, _delay_us: c_uint, _data: *mut c_void) {}

/// Answers the questions of a module: what it asks without an echo is the password, with one the name.
extern "C" fn speak(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Some(length) = usize::try_from(count).ok().filter(|_| (1..=MESSAGES_MAX).contains(&count)) else {
        return PAM_CONV_ERR;
    };
    // SAFETY: libpam hands over `count` pointers to messages, a place for the responses, and the data of the conversation,
    // which lives until pam_end. It frees the responses and their texts.
    unsafe {
        let answers = &*data.cast::<Answers>();
        let list = calloc(length, size_of::<Response>()).cast::<Response>();
        if list.is_null() {
            return PAM_BUF_ERR;
        }
        for index in 0..length {
            (*list.add(index)).text = match (**messages.add(index)).style {
                PAM_PROMPT_ECHO_OFF => strdup(answers.password.as_ptr()),
                PAM_PROMPT_ECHO_ON => strdup(answers.name.as_ptr()),
                _ => ptr::null_mut(),
            };
        }
        *responses = list;
    }
    PAM_SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_a_folder_of_its_own_says_yes_or_no_or_that_it_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let pam = Pam::load().unwrap();
        assert!(pam.knows_confdir());
        let ask = |module: &str| {
            let text = format!("auth required {module}\naccount required {module}\n");
            std::fs::write(folder.path().join("holdfast"), text).unwrap();
            pam.is_right("holdfast", Some(folder.path()), "root", "s3cret")
        };
        assert_eq!(ask("pam_permit.so"), Ok(true));
        assert_eq!(ask("pam_deny.so"), Ok(false));
        let broken = ask("pam_of_nobody.so").unwrap_err();
        assert!(broken.starts_with("PAM says: "), "{broken}");
    }

    #[test]
    fn a_name_with_a_zero_byte_is_nobodys() {
        assert_eq!(Pam::load().unwrap().is_right("holdfast", None, "ro\0ot", "x"), Ok(false));
    }
}
