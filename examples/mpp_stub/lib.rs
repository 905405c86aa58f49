//! A stand-in for Rockchip's librockchip_mpp.so, for tests: the same calls, the same answers as the real library gave
//! (time-outs without an error, settings refused as a whole, headers with each IDR), and real H.264 from openh264.
//!
//! Tests steer it with `mpp_stub_set` and read it with `mpp_stub_get`. What would crash the real library, or show a torn
//! picture, is counted as "violations". Never for use: it is as slow as software is.
#![allow(clippy::disallowed_methods, clippy::missing_safety_doc)]

mod objects;
mod pictures;

use objects::{Config, Frame, Packet};
use openh264::encoder as oh;
use pictures::{encode, grey, header_of, read_picture};
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
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
