//! A stand-in for Rockchip's librockchip_mpp.so, for tests: the same calls, the same answers as the real library gave
//! (time-outs without an error, settings refused as a whole, headers with each IDR), and real H.264 from openh264.
//!
//! Tests steer it with `mpp_stub_set` and read it with `mpp_stub_get`. What would crash the real library, or show a torn
//! picture, is counted as "violations". Never for use: it is as slow as software is.
#![allow(clippy::disallowed_methods, clippy::missing_safety_doc)]

use openh264::encoder as oh;
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, SBitrateInfo, SPATIAL_LAYER_0};
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{from_mut, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const OK: c_int = 0;
const NOK: c_int = -1;
const ERR_UNKNOW: c_int = -2;
const ERR_VALUE: c_int = -6;

type Handle = *mut c_void;

static NUMBERS: Mutex<Option<HashMap<String, i64>>> = Mutex::new(None);

fn numbers() -> MutexGuard<'static, Option<HashMap<String, i64>>> {
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get(name: &str) -> i64 {
    numbers().as_ref().and_then(|all| all.get(name).copied()).unwrap_or(0)
}

fn set(name: &str, value: i64) {
    numbers().get_or_insert_default().insert(name.into(), value);
}

fn add(name: &str, more: i64) {
    *numbers().get_or_insert_default().entry(name.into()).or_default() += more;
}

fn violation(what: &str) {
    eprintln!("mpp_stub: VIOLATION: {what}");
    add("violations", 1);
}

unsafe fn text<'a>(chars: *const c_char) -> &'a str {
    unsafe { CStr::from_ptr(chars) }.to_str().unwrap_or("?")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_stub_set(name: *const c_char, value: i64) {
    set(unsafe { text(name) }, value);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_stub_get(name: *const c_char) -> i64 {
    get(unsafe { text(name) })
}

#[repr(C)]
pub struct Api {
    size: u32,
    version: u32,
    calls: [*const c_void; 14],
    reserved: [u32; 16],
}

struct Context {
    api: Api,
    encoding: bool,
    /// In force; None until a SET_CFG was taken.
    config: Option<Config>,
    refused: bool,
    encoder: Option<oh::Encoder>,
    encoder_rate: i64,
    idr_wanted: bool,
    header_mode: c_int,
    packets: VecDeque<Packet>,
    looks: u64,
    canned: Vec<u8>,
    output_timeout: i64,
}

#[derive(Clone, Default)]
struct Config(HashMap<String, i32>);

#[derive(Clone)]
struct Packet {
    data: Vec<u8>,
    /// Of a caller's memory, with its capacity.
    outer: (*mut u8, usize),
    length: usize,
    partition: bool,
    end: bool,
    intra: Option<i32>,
}

struct Frame {
    width: u32,
    height: u32,
    hor_stride: u32,
    ver_stride: u32,
    format: c_int,
    pts: i64,
    buffer: Handle,
}

struct Buffer {
    start: *mut u8,
    size: usize,
    fd: c_int,
    imported: bool,
}

#[repr(C)]
pub struct BufferInfo {
    kind: c_int,
    size: usize,
    ptr: *mut c_void,
    hnd: *mut c_void,
    fd: c_int,
    index: c_int,
}

unsafe fn context<'a>(handle: Handle) -> &'a mut Context {
    unsafe { &mut *handle.cast::<Context>() }
}

unsafe fn give<T>(place: *mut Handle, object: T, kind: &str) -> c_int {
    unsafe { *place = Box::into_raw(Box::new(object)).cast() };
    add(kind, 1);
    OK
}

unsafe fn take<T>(handle: Handle, kind: &str) -> Box<T> {
    add(kind, -1);
    unsafe { Box::from_raw(handle.cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_create(place: *mut Handle, api: *mut *mut Api) -> c_int {
    let mut calls = [std::ptr::null(); 14];
    calls[4] = encode_put_frame as *const c_void;
    calls[5] = encode_get_packet as *const c_void;
    calls[13] = control as *const c_void;
    let table = Api { size: size_of::<Api>() as u32, version: 0, calls, reserved: [0; 16] };
    let made = Context {
        api: table,
        encoding: false,
        config: None,
        refused: false,
        encoder: None,
        encoder_rate: 0,
        idr_wanted: false,
        header_mode: 0,
        packets: VecDeque::new(),
        looks: 0,
        canned: Vec::new(),
        output_timeout: -1,
    };
    add("created", 1);
    unsafe {
        give(place, made, "sessions");
        *api = &mut context(*place).api;
    }
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_init(handle: Handle, kind: c_int, coding: c_int) -> c_int {
    if get("no_driver") != 0 {
        return NOK;
    }
    unsafe { context(handle) }.encoding = kind == 1 && coding == 7;
    if kind == 1 && coding == 7 { OK } else { ERR_VALUE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpp_destroy(handle: Handle) -> c_int {
    drop(unsafe { take::<Context>(handle, "sessions") });
    OK
}

unsafe extern "C" fn control(handle: Handle, command: u32, argument: *mut c_void) -> c_int {
    let context = unsafe { context(handle) };
    match command {
        0x20_0006 => return OK,
        0x20_0007 => {
            context.output_timeout = unsafe { *argument.cast::<i64>() };
            return OK;
        }
        _ if !context.encoding => return -3,
        _ => {}
    }
    match command {
        0x32_0001 => set_config(context, unsafe { &*argument.cast::<Config>() }),
        0x32_0002 => {
            let defaults = [("rc:bps_target", 2_000_000), ("rc:bps_max", 2_200_000), ("rc:bps_min", 1_800_000)];
            let now = context.config.clone().unwrap_or_else(|| Config(defaults.map(|(k, v)| (k.into(), v)).into()));
            unsafe { *argument.cast::<Config>() = now };
            OK
        }
        0x32_0009 => {
            if !argument.is_null() {
                violation("SET_IDR_FRAME takes no argument");
            }
            add("idr_requests", 1);
            context.idr_wanted = true;
            OK
        }
        0x32_000d => read_header(context, unsafe { &mut *argument.cast::<Packet>() }),
        0x32_000f => OK,
        0x32_8001 if get("no_header_mode") != 0 => NOK,
        0x32_8001 => {
            context.header_mode = unsafe { *argument.cast::<c_int>() };
            OK
        }
        _ => ERR_UNKNOW,
    }
}

fn set_config(context: &mut Context, wanted: &Config) -> c_int {
    add("set_cfg", 1);
    let of = |key: &str| i64::from(wanted.0.get(key).copied().unwrap_or(0));
    let (target, most, least) = (of("rc:bps_target"), of("rc:bps_max"), of("rc:bps_min"));
    let refuse = get("refuse_cfg") != 0 || !(least..=most).contains(&target) || of("prep:width") == 0;
    if refuse {
        add("set_cfg_refused", 1);
        context.refused |= context.config.is_none();
        return ERR_VALUE;
    }
    for (key, value) in &wanted.0 {
        set(key, i64::from(*value));
    }
    context.config = Some(wanted.clone());
    OK
}

/// As the real one: succeeds whatever was configured.
fn read_header(context: &mut Context, packet: &mut Packet) -> c_int {
    if context.config.is_none() {
        packet.length = 0;
        return OK;
    }
    let header = header_of(&encode(context, &grey(context), true));
    context.encoder = None;
    let length = header.len().min(packet.outer.1);
    unsafe { std::ptr::copy_nonoverlapping(header.as_ptr(), packet.outer.0, length) };
    packet.length = length;
    OK
}

/// SPS and PPS with their start codes.
fn header_of(unit: &[u8]) -> Vec<u8> {
    let idr = unit.windows(5).position(|five| five[..4] == [0, 0, 0, 1] && five[4] & 31 == 5);
    unit[..idr.unwrap_or(0)].to_vec()
}

struct Planes {
    size: (usize, usize),
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl YUVSource for Planes {
    fn dimensions(&self) -> (usize, usize) {
        self.size
    }
    fn strides(&self) -> (usize, usize, usize) {
        (self.size.0, self.size.0 / 2, self.size.0 / 2)
    }
    fn y(&self) -> &[u8] {
        &self.y
    }
    fn u(&self) -> &[u8] {
        &self.u
    }
    fn v(&self) -> &[u8] {
        &self.v
    }
}

fn number(context: &Context, key: &str) -> usize {
    context.config.as_ref().and_then(|config| config.0.get(key)).map_or(0, |value| (*value).max(0) as usize)
}

fn grey(context: &Context) -> Planes {
    let size = (number(context, "prep:width"), number(context, "prep:height"));
    let quarter = vec![128; size.0 * size.1 / 4];
    Planes { size, y: vec![128; size.0 * size.1], u: quarter.clone(), v: quarter }
}

fn encode(context: &mut Context, planes: &Planes, key: bool) -> Vec<u8> {
    let rate = number(context, "rc:bps_target") as i64;
    if context.encoder.is_none() {
        context.encoder_rate = rate;
        context.encoder = Some(open_encoder(context, rate));
    }
    let changed = context.encoder_rate != rate;
    let encoder = context.encoder.as_mut().expect("it was just made");
    if changed {
        let order = match rate > context.encoder_rate {
            true => [ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_BITRATE],
            false => [ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE],
        };
        for option in order {
            let mut info = SBitrateInfo { iLayer: SPATIAL_LAYER_0, iBitrate: rate as i32 };
            unsafe { encoder.raw_api().set_option(option, from_mut(&mut info).cast()) };
        }
        context.encoder_rate = rate;
    }
    if key {
        encoder.force_intra_frame();
    }
    add("pictures", 1);
    let at = Timestamp::from_millis(33 * get("pictures") as u64);
    encoder.encode_at(planes, at).expect("openh264 encodes").to_vec()
}

fn open_encoder(context: &Context, rate: i64) -> oh::Encoder {
    let fps = number(context, "rc:fps_in_num") as f32 / get_seconds(context) as f32;
    let settings = oh::EncoderConfig::new()
        .usage_type(oh::UsageType::CameraVideoRealTime)
        .profile(oh::Profile::Baseline)
        .rate_control_mode(oh::RateControlMode::Timestamp)
        .bitrate(oh::BitRate::from_bps(rate as u32))
        .max_frame_rate(oh::FrameRate::from_hz(fps))
        .skip_frames(true)
        .sps_pps_strategy(oh::SpsPpsStrategy::ConstantId)
        .intra_frame_period(oh::IntraFramePeriod::from_num_frames(number(context, "rc:gop") as u32))
        .num_threads(1)
        .scene_change_detect(false);
    oh::Encoder::with_api_config(OpenH264API::from_source(), settings).expect("openh264 opens")
}

fn get_seconds(context: &Context) -> usize {
    number(context, if get("old_keys") != 0 { "rc:fps_in_denorm" } else { "rc:fps_in_denom" }).max(1)
}

unsafe extern "C" fn encode_put_frame(handle: Handle, frame: Handle) -> c_int {
    let (context, frame) = (unsafe { context(handle) }, unsafe { &*frame.cast::<Frame>() });
    if context.config.is_none() || context.refused {
        violation("a picture after the first settings were refused: the real library crashes here");
        return NOK;
    }
    if get("put_fails") != 0 {
        return NOK;
    }
    if get("stuck") > 0 {
        add("stuck", -1);
        return OK;
    }
    if get("instant") != 0 && !context.canned.is_empty() {
        let data = context.canned.clone();
        context.packets.push_back(packet(data, true, 1));
        return OK;
    }
    let Some(planes) = (unsafe { read_picture(context, frame) }) else { return NOK };
    let key = std::mem::take(&mut context.idr_wanted);
    let mut unit = encode(context, &planes, key);
    let header = header_of(&unit);
    let intra = !header.is_empty();
    if intra && context.header_mode != 1 && context.canned.len() > header.len() {
        unit.drain(..header.len());
    }
    if context.canned.is_empty() {
        context.canned = unit.clone();
    }
    let half = unit.len() / 2;
    if get("partitions") != 0 {
        let second = unit.split_off(half);
        context.packets.push_back(Packet { partition: true, end: false, ..packet(unit, false, i32::from(intra)) });
        context.packets.push_back(Packet { partition: true, ..packet(second, false, i32::from(intra)) });
    } else {
        context.packets.push_back(packet(unit, false, i32::from(intra)));
    }
    OK
}

fn packet(data: Vec<u8>, canned: bool, intra: i32) -> Packet {
    let length = data.len();
    let intra = (get("no_meta") == 0 && !canned).then_some(intra);
    Packet { data, outer: (null_mut(), 0), length, partition: false, end: true, intra }
}

unsafe fn read_picture(context: &Context, frame: &Frame) -> Option<Planes> {
    let of = |key| number(context, key);
    let (width, height) = (frame.width as usize, frame.height as usize);
    let (stride, rows) = (frame.hor_stride as usize, frame.ver_stride as usize);
    let same = (width, height, stride, rows)
        == (of("prep:width"), of("prep:height"), of("prep:hor_stride"), of("prep:ver_stride"));
    if !same || frame.format != 0 || stride % 8 != 0 || stride < width || rows < height || frame.buffer.is_null() {
        violation("a picture of another geometry than the settings'");
        return None;
    }
    let buffer = unsafe { &*frame.buffer.cast::<Buffer>() };
    if stride * (rows + height / 2 - 1) + width > buffer.size {
        violation("a picture bigger than its buffer");
        return None;
    }
    set("last_pts", frame.pts);
    add(if buffer.imported { "pictures_imported" } else { "pictures_own" }, 1);
    let bytes = unsafe { std::slice::from_raw_parts(buffer.start, buffer.size) };
    let (luma, chroma) = bytes.split_at(stride * rows);
    let y = luma.chunks(stride).take(height).flat_map(|row| &row[..width]).copied().collect();
    let rows = || chroma.chunks(stride).take(height / 2);
    let part = |first: usize| rows().flat_map(|row| row[first..width].iter().step_by(2)).copied().collect();
    Some(Planes { size: (width, height), y, u: part(0), v: part(1) })
}

unsafe extern "C" fn encode_get_packet(handle: Handle, place: *mut Handle) -> c_int {
    let context = unsafe { context(handle) };
    unsafe { *place = null_mut() };
    context.looks += 1;
    let late = get("null_every") > 0 && context.looks.is_multiple_of(get("null_every") as u64);
    let next = if late { None } else { context.packets.pop_front() };
    match next {
        Some(packet) => unsafe { give(place, packet, "packets") },
        None => {
            add("timeouts", 1);
            if !late {
                std::thread::sleep(Duration::from_millis(context.output_timeout.clamp(0, 1000) as u64));
            }
            OK
        }
    }
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
