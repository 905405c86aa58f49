//! What callers hold: settings, frames, packets, buffers, each with its calls.

use crate::{Handle, NOK, OK, add, get, give, take, text};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

#[derive(Clone, Default)]
pub struct Config(pub HashMap<String, i32>);

#[derive(Clone)]
pub struct Packet {
    pub data: Vec<u8>,
    /// Of a caller's memory, with its capacity.
    pub outer: (*mut u8, usize),
    pub length: usize,
    pub partition: bool,
    pub end: bool,
    pub intra: Option<i32>,
}

pub struct Frame {
    pub width: u32,
    pub height: u32,
    pub hor_stride: u32,
    pub ver_stride: u32,
    pub format: c_int,
    pub pts: i64,
    pub buffer: Handle,
}

pub struct Buffer {
    pub start: *mut u8,
    pub size: usize,
    pub fd: c_int,
    pub imported: bool,
}

#[repr(C)]
pub struct BufferInfo {
    kind: c_int,
    pub size: usize,
    ptr: *mut c_void,
    hnd: *mut c_void,
    pub fd: c_int,
    index: c_int,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_enc_cfg_init(place: *mut Handle) -> c_int {
    unsafe { give(place, Config::default(), "configs") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_enc_cfg_deinit(handle: Handle) -> c_int {
    drop(unsafe { take::<Config>(handle, "configs") });
    OK
}

const KEYS: &[&str] = &[
    "prep:width",
    "prep:height",
    "prep:hor_stride",
    "prep:ver_stride",
    "prep:format",
    "rc:mode",
    "rc:bps_target",
    "rc:bps_max",
    "rc:bps_min",
    "rc:fps_in_flex",
    "rc:fps_in_num",
    "rc:fps_in_denorm",
    "rc:fps_out_flex",
    "rc:fps_out_num",
    "rc:fps_out_denorm",
    "rc:gop",
    "codec:type",
    "h264:profile",
];
/// Only newer libraries know these.
const NEW_KEYS: &[&str] = &[
    "prep:range",
    "prep:colorspace",
    "prep:colorprim",
    "prep:colortrc",
    "rc:fps_in_denom",
    "rc:fps_out_denom",
    "h264:level",
    "h264:cabac_en",
    "h264:trans8x8",
    "split:mode",
];

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_enc_cfg_set_s32(handle: Handle, key: *const c_char, value: i32) -> c_int {
    let key = unsafe { text(key) };
    let known = KEYS.contains(&key) || NEW_KEYS.contains(&key) && get("old_keys") == 0;
    if known {
        unsafe { &mut *handle.cast::<Config>() }.0.insert(key.into(), value);
    }
    if known { OK } else { NOK }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_frame_init(place: *mut Handle) -> c_int {
    let none = Frame { width: 0, height: 0, hor_stride: 0, ver_stride: 0, format: -1, pts: 0, buffer: null_mut() };
    unsafe { give(place, none, "frames") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_frame_deinit(place: *mut Handle) -> c_int {
    drop(unsafe { take::<Frame>(*place, "frames") });
    unsafe { *place = null_mut() };
    OK
}

macro_rules! frame_setters {
    ($($name:ident $field:ident: $kind:ty;)+) => {
        $(#[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(handle: Handle, value: $kind) {
            unsafe { (*handle.cast::<Frame>()).$field = value };
        })+
    };
}

frame_setters! {
    mpp_frame_set_width width: u32;
    mpp_frame_set_height height: u32;
    mpp_frame_set_hor_stride hor_stride: u32;
    mpp_frame_set_ver_stride ver_stride: u32;
    mpp_frame_set_fmt format: c_int;
    mpp_frame_set_pts pts: i64;
    mpp_frame_set_buffer buffer: Handle;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_init(place: *mut Handle, data: *mut c_void, size: usize) -> c_int {
    let outer = (data.cast(), size);
    let made = Packet { data: Vec::new(), outer, length: size, partition: false, end: true, intra: None };
    unsafe { give(place, made, "packets") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_deinit(place: *mut Handle) -> c_int {
    drop(unsafe { take::<Packet>(*place, "packets") });
    unsafe { *place = null_mut() };
    OK
}

unsafe fn packet_of<'a>(handle: Handle) -> &'a mut Packet {
    unsafe { &mut *handle.cast::<Packet>() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_set_length(handle: Handle, length: usize) {
    unsafe { packet_of(handle) }.length = length;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_get_pos(handle: Handle) -> *mut c_void {
    let packet = unsafe { packet_of(handle) };
    if packet.outer.0.is_null() { packet.data.as_mut_ptr().cast() } else { packet.outer.0.cast() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_get_length(handle: Handle) -> usize {
    unsafe { packet_of(handle) }.length
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_get_meta(handle: Handle) -> Handle {
    handle
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_is_partition(handle: Handle) -> u32 {
    u32::from(unsafe { packet_of(handle) }.partition)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_packet_is_eoi(handle: Handle) -> u32 {
    u32::from(unsafe { packet_of(handle) }.end)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_meta_get_s32(handle: Handle, key: u32, value: *mut i32) -> c_int {
    match unsafe { packet_of(handle) }.intra {
        Some(intra) if key == 0x6f69_6472 => {
            unsafe { *value = intra };
            OK
        }
        _ => NOK,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_group_get(
    place: *mut Handle,
    kind: c_int,
    _mode: c_int,
    _tag: *const c_char,
    _caller: *const c_char,
) -> c_int {
    unsafe { give(place, kind, "groups") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_group_put(handle: Handle) -> c_int {
    drop(unsafe { take::<c_int>(handle, "groups") });
    OK
}

unsafe fn map(place: *mut Handle, fd: c_int, size: usize, imported: bool) -> c_int {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let start = unsafe { libc::mmap(null_mut(), size, protection, libc::MAP_SHARED, fd, 0) };
    if fd < 0 || start == libc::MAP_FAILED {
        return NOK;
    }
    unsafe { give(place, Buffer { start: start.cast(), size, fd, imported }, "buffers") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_import_with_tag(
    _group: Handle,
    info: *mut BufferInfo,
    place: *mut Handle,
    _tag: *const c_char,
    _caller: *const c_char,
) -> c_int {
    let info = unsafe { &*info };
    if info.kind != 2 || get("import_fails") != 0 {
        return NOK;
    }
    add("imports", 1);
    unsafe { map(place, libc::fcntl(info.fd, libc::F_DUPFD_CLOEXEC, 3), info.size, true) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_get_with_tag(
    group: Handle,
    place: *mut Handle,
    size: usize,
    _tag: *const c_char,
    _caller: *const c_char,
) -> c_int {
    // a board of kernel 4.19: no DRM render node here, no DMA heap, but ION
    if get("only_ion") != 0 && unsafe { *group.cast::<c_int>() } != 1 {
        return NOK;
    }
    let fd = unsafe { libc::memfd_create(c"mpp_stub".as_ptr(), libc::MFD_CLOEXEC) };
    unsafe {
        libc::ftruncate(fd, size as libc::off_t);
        map(place, fd, size, false)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_put_with_caller(handle: Handle, _caller: *const c_char) -> c_int {
    let buffer = unsafe { take::<Buffer>(handle, "buffers") };
    unsafe {
        libc::munmap(buffer.start.cast(), buffer.size);
        libc::close(buffer.fd);
    }
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_get_ptr_with_caller(handle: Handle, _caller: *const c_char) -> *mut c_void {
    unsafe { (*handle.cast::<Buffer>()).start.cast() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_buffer_get_fd_with_caller(handle: Handle, _caller: *const c_char) -> c_int {
    unsafe { (*handle.cast::<Buffer>()).fd }
}
