// Every text of the page, in each language it speaks. Pure lookup; must never touch the document.
//
// A new language is one more table with the same keys (a test compares them).

export const WORDS = {
  en: {
    title: 'rtcam',
    picture: 'Live picture of the camera',
    connecting: 'Connecting',
    live: 'Live',
    opening: 'Camera is starting',
    away: 'No camera',
    reconnecting: 'Reconnecting',
    reconnecting_in: 'Reconnecting in {n} s',
    full: 'Server is full',
    full_hint: 'All places are taken. A place will be tried again in {n} s.',
    unsupported: 'Not supported',
    unsupported_webrtc: 'This browser has no WebRTC.',
    unsupported_h264: 'This browser cannot receive H.264 over WebRTC.',
    blocked: 'Ready to play',
    play: 'Tap to play',
    retry: 'Try now',
    missing: 'not plugged in',
    busy: 'in use by another program',
    unplugged: 'was unplugged',
    failing: 'keeps failing',
    silent: 'sends no pictures',
    'format-changed': 'changed its picture format',
    'not-a-camera': 'the device is not a camera',
    latency: '{n} ms glass to eye',
    latency_unit: 'ms glass to eye',
    stats: 'Statistics',
    snapshot: 'Save picture',
    fullscreen: 'Full screen',
    fullscreen_off: 'Leave full screen',
    close: 'Close',
    unknown: 'n/a',
    part_board: 'Capture + encode',
    part_network: 'Network',
    part_decode: 'Buffer + decode',
    part_display: 'Display',
    fps: 'Frames decoded',
    bitrate: 'Bit rate',
    size: 'Picture',
    lost: 'Packets lost',
    jitter_buffer: 'Jitter buffer',
    decode: 'Decode time',
    round_trip: 'Round trip',
    dropped: 'Frames dropped',
    freezes: 'Freezes',
    codec: 'Codec',
    path: 'Path',
    worst: '95 % under {n} ms, clock ± {e} ms',
  },
  zh: {
    title: 'rtcam',
    picture: '摄像头实时画面',
    connecting: '正在连接',
    live: '直播中',
    opening: '摄像头正在启动',
    away: '没有摄像头画面',
    reconnecting: '正在重新连接',
    reconnecting_in: '{n} 秒后重新连接',
    full: '观看人数已满',
    full_hint: '所有席位均已占用，{n} 秒后自动重试。',
    unsupported: '不支持',
    unsupported_webrtc: '此浏览器不支持 WebRTC。',
    unsupported_h264: '此浏览器无法通过 WebRTC 接收 H.264。',
    blocked: '可以播放',
    play: '点击播放',
    retry: '立即重试',
    missing: '未连接',
    busy: '被其他程序占用',
    unplugged: '已被拔出',
    failing: '持续出错',
    silent: '没有输出画面',
    'format-changed': '画面格式已改变',
    'not-a-camera': '该设备不是摄像头',
    latency: '{n} 毫秒 镜头到眼',
    latency_unit: '毫秒 镜头到眼',
    stats: '统计信息',
    snapshot: '保存画面',
    fullscreen: '全屏',
    fullscreen_off: '退出全屏',
    close: '关闭',
    unknown: '无数据',
    part_board: '采集 + 编码',
    part_network: '网络',
    part_decode: '缓冲 + 解码',
    part_display: '显示',
    fps: '解码帧率',
    bitrate: '码率',
    size: '画面',
    lost: '丢包',
    jitter_buffer: '抖动缓冲',
    decode: '解码耗时',
    round_trip: '往返时延',
    dropped: '丢弃帧',
    freezes: '卡顿',
    codec: '编码格式',
    path: '传输路径',
    worst: '95% 低于 {n} 毫秒，时钟误差 ± {e} 毫秒',
  },
};

/** The first language in the list (`?lang=` before the browser's own) that the page speaks; English otherwise. */
export function chooseLanguage(override, preferred = []) {
  for (const tag of [override, ...preferred]) {
    const language = String(tag ?? '').toLowerCase().split(/[-_]/)[0];
    if (Object.hasOwn(WORDS, language)) return language;
  }
  return 'en';
}

/** The text of `key`, with {names} filled in; a key nobody translated comes back as it is. */
export function say(language, key, values = {}) {
  const text = Object.hasOwn(WORDS[language], key) ? WORDS[language][key] : String(key);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}
