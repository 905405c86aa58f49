//! Rockchip's encoder library (librockchip_mpp) by its C interface: bound by hand, loaded when it is there.
//!
//! Owns the ABI (sizes checked at compile time) and the lives of the library's objects: each is given back when it is
//! dropped, and keeps the library. Must never unload the library: its threads outlive its sessions. Input: `mpp.rs`.

use crate::error::{Error, ErrorKind, Result};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{ManuallyDrop, offset_of, size_of};
use std::os::fd::RawFd;
use std::ptr::{NonNull, from_mut, null_mut};
use std::sync::Arc;

type Handle = *mut c_void;
/// Calls that rtcam never makes; they keep their place in the table.
type Unused = *const c_void;

#[repr(C)]
struct Api {
    size: u32,
    version: u32,
    decode: [Unused; 3],
    encode: Unused,
    encode_put_frame: Option<unsafe extern "C" fn(Handle, Handle) -> c_int>,
    encode_get_packet: Option<unsafe extern "C" fn(Handle, *mut Handle) -> c_int>,
    isp: [Unused; 3],
    queues: [Unused; 3],
    reset: Unused,
    control: Option<unsafe extern "C" fn(Handle, u32, *mut c_void) -> c_int>,
    reserved: [u32; 16],
}

#[repr(C)]
struct BufferInfo {
    kind: c_int,
    size: usize,
    ptr: *mut c_void,
    hnd: *mut c_void,
    fd: c_int,
    index: c_int,
}

const fn by_width(narrow: usize, wide: usize) -> usize {
    if cfg!(target_pointer_width = "32") { narrow } else { wide }
}

const _: () = {
    assert!(size_of::<Api>() == by_width(128, 184));
    assert!(offset_of!(Api, encode_put_frame) == by_width(24, 40));
    assert!(offset_of!(Api, encode_get_packet) == by_width(28, 48));
    assert!(offset_of!(Api, reset) == by_width(56, 104));
    assert!(offset_of!(Api, control) == by_width(60, 112));
    assert!(size_of::<BufferInfo>() == by_width(24, 40));
};

const CTX_ENC: c_int = 1;
const CODING_AVC: c_int = 7;
const FMT_YUV420SP: c_int = 0;
const BUFFER_EXT_DMA: c_int = 2;
/// Where the library may take memory from, in the order in which they are tried: DRM, DMA heap, ION.
const ALLOCATORS: [c_int; 3] = [3, 4, 1];
const GROUP_INTERNAL: c_int = 0;
const META_OUTPUT_INTRA: u32 = u32::from_be_bytes(*b"oidr");
const SET_INPUT_TIMEOUT: u32 = 0x20_0006;
const SET_OUTPUT_TIMEOUT: u32 = 0x20_0007;
const SET_CFG: u32 = 0x32_0001;
const GET_CFG: u32 = 0x32_0002;
const GET_HDR_SYNC: u32 = 0x32_000d;
const HEADER_BYTES: usize = 1024;
const TAG: &CStr = c"rtcam";

/// Commands with an int as their argument, or none.
#[derive(Clone, Copy)]
pub enum Command {
    ForceIdr = 0x32_0009,
    SeiMode = 0x32_000f,
    HeaderMode = 0x32_8001,
}

macro_rules! symbols {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)+) => {
        struct Symbols {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
        }

        impl Symbols {
            /// # Safety
            /// What the library calls by these names must be MPP's functions.
            unsafe fn find(library: &Library, path: &str) -> Result<Symbols> {
                Ok(Symbols {
                    // SAFETY: the contract of this function.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                        .map_err(|_| lacks(path, stringify!($name)))?,)+
                })
            }
        }
    };
}

symbols! {
    mpp_create(*mut Handle, *mut *mut Api) -> c_int;
    mpp_init(Handle, c_int, c_int) -> c_int;
    mpp_destroy(Handle) -> c_int;
    mpp_enc_cfg_init(*mut Handle) -> c_int;
    mpp_enc_cfg_deinit(Handle) -> c_int;
    mpp_enc_cfg_set_s32(Handle, *const c_char, i32) -> c_int;
    mpp_frame_init(*mut Handle) -> c_int;
    mpp_frame_deinit(*mut Handle) -> c_int;
    mpp_frame_set_width(Handle, u32);
    mpp_frame_set_height(Handle, u32);
    mpp_frame_set_hor_stride(Handle, u32);
    mpp_frame_set_ver_stride(Handle, u32);
    mpp_frame_set_fmt(Handle, c_int);
    mpp_frame_set_pts(Handle, i64);
    mpp_frame_set_buffer(Handle, Handle);
    mpp_packet_init(*mut Handle, *mut c_void, usize) -> c_int;
    mpp_packet_deinit(*mut Handle) -> c_int;
    mpp_packet_set_length(Handle, usize);
    mpp_packet_get_pos(Handle) -> *mut c_void;
    mpp_packet_get_length(Handle) -> usize;
    mpp_packet_get_meta(Handle) -> Handle;
    mpp_packet_is_partition(Handle) -> u32;
    mpp_packet_is_eoi(Handle) -> u32;
    mpp_meta_get_s32(Handle, u32, *mut i32) -> c_int;
    mpp_buffer_group_get(*mut Handle, c_int, c_int, *const c_char, *const c_char) -> c_int;
    mpp_buffer_group_put(Handle) -> c_int;
    mpp_buffer_import_with_tag(Handle, *mut BufferInfo, *mut Handle, *const c_char, *const c_char) -> c_int;
    mpp_buffer_get_with_tag(Handle, *mut Handle, usize, *const c_char, *const c_char) -> c_int;
    mpp_buffer_put_with_caller(Handle, *const c_char) -> c_int;
    mpp_buffer_get_ptr_with_caller(Handle, *const c_char) -> *mut c_void;
    mpp_buffer_get_fd_with_caller(Handle, *const c_char) -> c_int;
}

fn lacks(path: &str, symbol: &str) -> Error {
    let what = match symbol {
        "mpp_create" => format!("mpp: {path} is not Rockchip's MPP: it has no {symbol}"),
        _ => format!("mpp: {path}: this MPP has no {symbol}: rtcam needs one of 2020 or later"),
    };
    Error::new(ErrorKind::Unsupported, what)
}

pub struct Mpp {
    calls: Symbols,
    _library: ManuallyDrop<Library>,
}

impl Mpp {
    /// Loads the first of `paths` that is there.
    pub fn load(paths: &[&str]) -> Result<Arc<Mpp>> {
        let mut causes = Vec::new();
        for path in paths {
            // SAFETY: runs the library's constructors; the path is a fixed name or the config's.
            match unsafe { Library::new(path) } {
                Ok(library) => return Mpp::bind(library, path).map(Arc::new),
                Err(cause) => causes.push(cause.to_string()),
            }
        }
        let what = format!("mpp: load {}", paths.join(" or "));
        let missing = causes.iter().all(|cause| cause.contains("No such file"));
        Err(match missing {
            true => Error::new(ErrorKind::NotFound, format!("{what}: not on this machine")),
            false => Error::new(ErrorKind::Unsupported, what).because(causes.join("; ")),
        })
    }

    fn bind(library: Library, path: &str) -> Result<Mpp> {
        let library = ManuallyDrop::new(library);
        // SAFETY: nothing else exports functions of these names.
        let calls = unsafe { Symbols::find(&library, path)? };
        Ok(Mpp { calls, _library: library })
    }
}

fn checked(code: c_int, what: &str) -> Result<()> {
    match code {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::Unsupported, format!("mpp: {what}: error {code}"))),
    }
}

/// One encoder.
pub struct Session {
    mpp: Arc<Mpp>,
    context: Handle,
    put_frame: unsafe extern "C" fn(Handle, Handle) -> c_int,
    get_packet: unsafe extern "C" fn(Handle, *mut Handle) -> c_int,
    control: unsafe extern "C" fn(Handle, u32, *mut c_void) -> c_int,
}

// SAFETY: MPP's objects belong to no thread; one at a time calls, since every call takes `&mut` or is an accessor.
unsafe impl Send for Session {}

impl Session {
    /// `input_ms`: how long the encoder may take for a picture; `output_ms`: how long one look for a packet waits.
    pub fn open(mpp: &Arc<Mpp>, input_ms: i64, output_ms: i64) -> Result<Session> {
        let (mut context, mut api) = (null_mut(), null_mut());
        // SAFETY: both are places for a pointer.
        checked(unsafe { (mpp.calls.mpp_create)(&mut context, &mut api) }, "create an encoder")?;
        // SAFETY: MPP gave a pointer to its table, which lives as long as the context; null is ruled out by as_ref.
        let table =
            unsafe { api.as_ref() }.and_then(|api| Some((api.encode_put_frame?, api.encode_get_packet?, api.control?)));
        let Some((put_frame, get_packet, control)) = table else {
            // SAFETY: the context was just made and goes nowhere else.
            unsafe { (mpp.calls.mpp_destroy)(context) };
            return Err(Error::new(ErrorKind::Unsupported, "mpp: create an encoder: its table of calls is empty"));
        };
        let mut session = Session { mpp: mpp.clone(), context, put_frame, get_packet, control };
        // versions differ in the width they read: 64 bits serve both, boards are little-endian
        session.control("set the output time-out", SET_OUTPUT_TIMEOUT, from_mut(&mut { output_ms }).cast())?;
        // older ones know no time-out for input: the kernel's own ends a stuck picture there
        let _ = session.control("set the input time-out", SET_INPUT_TIMEOUT, from_mut(&mut { input_ms }).cast());
        // SAFETY: the context is open.
        checked(unsafe { (mpp.calls.mpp_init)(context, CTX_ENC, CODING_AVC) }, "start the H.264 encoder")?;
        Ok(session)
    }

    /// `argument` must be what `command` reads and writes.
    fn control(&mut self, what: &str, command: u32, argument: *mut c_void) -> Result<()> {
        // SAFETY: the context is open; the private callers pass what MPP's headers say for their command.
        checked(unsafe { (self.control)(self.context, command, argument) }, what)
    }

    pub fn set(&mut self, command: Command, value: i32) -> Result<()> {
        let (what, mut value) = (format!("control {:#x} = {value}", command as u32), value);
        self.control(&what, command as u32, from_mut(&mut value).cast())
    }

    pub fn force_idr(&mut self) -> Result<()> {
        self.control("ask for an IDR", Command::ForceIdr as u32, null_mut())
    }

    /// The settings as the library has them now.
    pub fn settings(&mut self) -> Result<Settings> {
        let mut settings = Settings { mpp: self.mpp.clone(), handle: null_mut() };
        // SAFETY: a place for a pointer.
        checked(unsafe { (self.mpp.calls.mpp_enc_cfg_init)(&mut settings.handle) }, "make settings")?;
        self.control("read the settings", GET_CFG, settings.handle)?;
        Ok(settings)
    }

    /// All or nothing: what is refused leaves the old settings in force.
    pub fn apply(&mut self, settings: &Settings) -> Result<()> {
        self.control("apply the settings", SET_CFG, settings.handle)
    }

    /// SPS and PPS.
    pub fn header(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0u8; HEADER_BYTES];
        let mut packet = Packet { mpp: self.mpp.clone(), handle: null_mut() };
        let data = bytes.as_mut_ptr().cast();
        // SAFETY: the packet refers to `bytes`, which outlives it.
        checked(unsafe { (self.mpp.calls.mpp_packet_init)(&mut packet.handle, data, HEADER_BYTES) }, "make a packet")?;
        // SAFETY: the packet is open.
        unsafe { (self.mpp.calls.mpp_packet_set_length)(packet.handle, 0) };
        self.control("read the header", GET_HDR_SYNC, packet.handle)?;
        let header = packet.bytes().to_vec();
        drop(packet);
        Ok(header)
    }

    /// Makes an exported buffer known to the encoder; nothing is copied.
    pub fn import(&mut self, fd: RawFd, size: usize) -> Result<Buffer> {
        let mut info = BufferInfo { kind: BUFFER_EXT_DMA, size, ptr: null_mut(), hnd: null_mut(), fd, index: 0 };
        let mut handle = null_mut();
        let tag = TAG.as_ptr();
        let import = self.mpp.calls.mpp_buffer_import_with_tag;
        // SAFETY: info and handle outlive the call; no group means the library's own.
        let code = unsafe { import(null_mut(), &mut info, &mut handle, tag, tag) };
        checked(code, "import a camera buffer")?;
        Ok(Buffer { mpp: self.mpp.clone(), handle, group: null_mut(), size })
    }

    /// Memory of the encoder's own.
    pub fn allocate(&mut self, size: usize) -> Result<Buffer> {
        let mut failure = Ok(());
        for allocator in ALLOCATORS {
            let (mut buffer, tag) = (Buffer::none(&self.mpp, size), TAG.as_ptr());
            let calls = &self.mpp.calls;
            // SAFETY: a place for a pointer; strings with their NUL.
            let code = unsafe { (calls.mpp_buffer_group_get)(&mut buffer.group, allocator, GROUP_INTERNAL, tag, tag) };
            failure = checked(code, "make a buffer group");
            if failure.is_err() {
                continue;
            }
            // SAFETY: the group is open.
            let code = unsafe { (calls.mpp_buffer_get_with_tag)(buffer.group, &mut buffer.handle, size, tag, tag) };
            failure = checked(code, &format!("allocate {size} bytes"));
            if failure.is_ok() {
                return Ok(buffer);
            }
        }
        Err(failure.err().unwrap_or_else(|| Error::new(ErrorKind::Internal, "mpp: no allocator")))
    }

    /// Hands a picture over and waits until the encoder has read it.
    pub fn put(&mut self, picture: &Picture, buffer: &Buffer) -> Result<()> {
        let calls = &self.mpp.calls;
        let mut frame = null_mut();
        // SAFETY: a place for a pointer.
        checked(unsafe { (calls.mpp_frame_init)(&mut frame) }, "make a frame")?;
        // SAFETY: the frame is open until mpp_frame_deinit below; the buffer is, since we borrow it.
        let code = unsafe {
            (calls.mpp_frame_set_width)(frame, picture.width);
            (calls.mpp_frame_set_height)(frame, picture.height);
            (calls.mpp_frame_set_hor_stride)(frame, picture.stride);
            (calls.mpp_frame_set_ver_stride)(frame, picture.rows);
            (calls.mpp_frame_set_fmt)(frame, FMT_YUV420SP);
            (calls.mpp_frame_set_pts)(frame, picture.pts);
            (calls.mpp_frame_set_buffer)(frame, buffer.handle);
            let code = (self.put_frame)(self.context, frame);
            (calls.mpp_frame_deinit)(&mut frame);
            code
        };
        match code {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Io, format!("mpp: hand over a picture: error {code}"))),
        }
    }

    /// The next packet; None when there is none within the output time-out, which is no error.
    pub fn take(&mut self) -> Result<Option<Packet>> {
        let mut packet = Packet { mpp: self.mpp.clone(), handle: null_mut() };
        // SAFETY: the context is open, the handle a place for a pointer.
        let code = unsafe { (self.get_packet)(self.context, &mut packet.handle) };
        match (packet.handle.is_null(), code) {
            (false, _) => Ok(Some(packet)),
            (true, 0) => Ok(None),
            (true, code) => Err(Error::new(ErrorKind::Io, format!("mpp: fetch a packet: error {code}"))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the context is open and nobody has it but us.
        unsafe { (self.mpp.calls.mpp_destroy)(self.context) };
    }
}

/// Geometry of one picture: NV12, U and V right after `stride * rows` bytes of Y.
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub stride: u32,
    pub rows: u32,
    pub pts: i64,
}

/// A set of keys and values, in force once a session applied it.
pub struct Settings {
    mpp: Arc<Mpp>,
    handle: Handle,
}

// SAFETY: as for Session.
unsafe impl Send for Settings {}

impl Settings {
    /// The library's error for keys it does not know.
    pub fn set(&mut self, key: &CStr, value: i32) -> Result<()> {
        // SAFETY: the settings are open; the key ends with NUL.
        let code = unsafe { (self.mpp.calls.mpp_enc_cfg_set_s32)(self.handle, key.as_ptr(), value) };
        if code == 0 {
            return Ok(());
        }
        checked(code, &format!("set {} = {value}", key.to_string_lossy()))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: open, and ours alone.
            unsafe { (self.mpp.calls.mpp_enc_cfg_deinit)(self.handle) };
        }
    }
}

/// Memory that the encoder can read: imported, or its own.
pub struct Buffer {
    mpp: Arc<Mpp>,
    handle: Handle,
    /// Null for what is imported.
    group: Handle,
    size: usize,
}

// SAFETY: as for Session.
unsafe impl Send for Buffer {}

impl Buffer {
    fn none(mpp: &Arc<Mpp>, size: usize) -> Buffer {
        Buffer { mpp: mpp.clone(), handle: null_mut(), group: null_mut(), size }
    }

    /// To be written only: reading is slow where the memory is not cached.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        // SAFETY: the buffer is open.
        let start = unsafe { (self.mpp.calls.mpp_buffer_get_ptr_with_caller)(self.handle, TAG.as_ptr()) };
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| Error::new(ErrorKind::Io, "mpp: map a buffer: the library gave no address"))?;
        // SAFETY: MPP mapped at least `size` bytes, which live as long as the buffer; the encoder reads them only
        // inside `put`, which borrows the buffer.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.size) })
    }

    pub fn fd(&self) -> RawFd {
        // SAFETY: the buffer is open.
        unsafe { (self.mpp.calls.mpp_buffer_get_fd_with_caller)(self.handle, TAG.as_ptr()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: open, and this reference is ours.
            unsafe { (self.mpp.calls.mpp_buffer_put_with_caller)(self.handle, TAG.as_ptr()) };
        }
        if !self.group.is_null() {
            // SAFETY: as above; its one buffer is back.
            unsafe { (self.mpp.calls.mpp_buffer_group_put)(self.group) };
        }
    }
}

/// Encoded bytes, lent by the library.
pub struct Packet {
    mpp: Arc<Mpp>,
    handle: Handle,
}

impl Packet {
    pub fn bytes(&self) -> &[u8] {
        let calls = &self.mpp.calls;
        // SAFETY: the packet is open.
        let (start, len) =
            unsafe { ((calls.mpp_packet_get_pos)(self.handle), (calls.mpp_packet_get_length)(self.handle)) };
        if start.is_null() {
            return &[];
        }
        // SAFETY: MPP's position and length of the data, which live as long as the packet.
        unsafe { std::slice::from_raw_parts(start.cast_const().cast(), len) }
    }

    /// Whether the picture ends with this packet.
    pub fn ends_picture(&self) -> bool {
        let calls = &self.mpp.calls;
        // SAFETY: the packet is open.
        unsafe { (calls.mpp_packet_is_partition)(self.handle) == 0 || (calls.mpp_packet_is_eoi)(self.handle) != 0 }
    }

    /// Whether the library calls it an intra picture; None when it does not say.
    pub fn intra(&self) -> Option<bool> {
        let calls = &self.mpp.calls;
        let mut intra = 0;
        // SAFETY: the packet is open; its meta data lives as long.
        let code = unsafe {
            let meta = (calls.mpp_packet_get_meta)(self.handle);
            if meta.is_null() { -1 } else { (calls.mpp_meta_get_s32)(meta, META_OUTPUT_INTRA, &mut intra) }
        };
        (code == 0).then_some(intra != 0)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: open, and ours.
            unsafe { (self.mpp.calls.mpp_packet_deinit)(&mut self.handle) };
        }
    }
}

/// struct dma_buf_sync of linux/dma-buf.h.
#[repr(C)]
struct DmabufSync {
    flags: u64,
}

const DMA_BUF_IOCTL_SYNC: u32 = 1 << 30 | (size_of::<DmabufSync>() as u32) << 16 | (b'b' as u32) << 8;
const SYNC_WRITE: u64 = 2;
const SYNC_END: u64 = 4;

/// Tells the kernel that the CPU is done writing into a buffer, so that a device sees it. (That the CPU may begin was
/// told by the driver's own DQBUF, or is no question for memory that is only written.) What is no dmabuf, or has no
/// caches in between, refuses it and needs it not.
pub fn end_cpu_writes(fd: RawFd) {
    let mut sync = DmabufSync { flags: SYNC_END | SYNC_WRITE };
    let again = [Some(libc::EINTR), Some(libc::EAGAIN)];
    for _ in 0..100 {
        // SAFETY: the request takes a dma_buf_sync; a descriptor that is none of that kind is refused by the kernel.
        let result = unsafe { libc::ioctl(fd, DMA_BUF_IOCTL_SYNC as libc::Ioctl, from_mut(&mut sync)) };
        if result == 0 || !again.contains(&std::io::Error::last_os_error().raw_os_error()) {
            return;
        }
    }
}
