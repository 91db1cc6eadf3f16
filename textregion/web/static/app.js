// The page: everything but encoding happens here, from one PNG of numbers and the scores of each question.

const $ = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const SEPARATORS = /[,;，；、]/; // of words
const percent = (share) => (share >= 0.001 ? `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %` : '< 0.1 %');

// ---------------------------------------------------------------- asking the server

async function ask(address, { json, ...options } = {}) {
  if (json !== undefined) {
    options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(json), ...options };
  }
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer: see whether it still runs.');
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const failure = new Error(told.error || `The server answers with status ${answer.status}.`);
  failure.status = answer.status;
  throw failure;
}
const askJson = async (address, options) => (await ask(address, options)).json();
const pictureAddress = (id, what = '') => `/api/pictures/${encodeURIComponent(id)}${what}`;

function complain(error) {
  if (error && error.name === 'AbortError') return;
  $('error').textContent = error ? error.message || String(error) : '';
  $('error').hidden = !error;
}
const say = (text) => { $('said').textContent = text; };

// ---------------------------------------------------------------- the PNG of numbers
// Read here and not through a canvas: that has 8 bits a channel, and some browsers add noise to what is read from one.

async function decodeGreyPng(buffer) {
  const view = new DataView(buffer);
  let width, height, bytes;
  const packed = [];
  for (let at = 8; at < view.byteLength; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...new Uint8Array(buffer, at + 4, 4));
    if (kind === 'IHDR') {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      bytes = view.getUint8(at + 16) / 8;
    } else if (kind === 'IDAT') packed.push(new Uint8Array(buffer, at + 8, length));
    at += length + 12;
  }
  const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream('deflate'));
  const lines = new Uint8Array(await new Response(stream).arrayBuffer());
  const stride = width * bytes;
  const values = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) unfilter(lines, y, stride, bytes, values);
  if (bytes === 1) return { width, height, numbers: Uint16Array.from(values) };
  const numbers = new Uint16Array(width * height);
  for (let i = 0; i < numbers.length; i++) numbers[i] = (values[2 * i] << 8) | values[2 * i + 1];
  return { width, height, numbers };
}

function unfilter(lines, y, stride, bytes, values) {
  const filter = lines[y * (stride + 1)];
  const from = y * (stride + 1) + 1;
  const to = y * stride;
  for (let x = 0; x < stride; x++) {
    const left = x >= bytes ? values[to + x - bytes] : 0;
    const above = y ? values[to + x - stride] : 0;
    let guess = 0;
    if (filter === 1) guess = left;
    else if (filter === 2) guess = above;
    else if (filter === 3) guess = (left + above) >> 1;
    else if (filter === 4) guess = paeth(left, above, y && x >= bytes ? values[to + x - stride - bytes] : 0);
    values[to + x] = lines[from + x] + guess;
  }
}

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}

// ---------------------------------------------------------------- regions: a tree whose nodes are what pixels hold

class Regions {
  constructor(facts, { width, height, numbers }) {
    Object.assign(this, { width, height, numbers });
    this.parent = Int32Array.from(facts.parent);
    this.region = Int32Array.from(facts.region);
    this.size = facts.size_hw;
    this.share = facts.share;
    this.iou = facts.predicted_iou;
    this.count = facts.share.length;
    this.depth = new Int32Array(this.parent.length);
    for (let node = 1; node < this.parent.length; node++) this.depth[node] = this.depth[this.parent[node]] + 1;
    this.pixels = new Uint32Array(this.parent.length); // of each node
    for (const node of numbers) this.pixels[node] += 1;
    this.bySize = [...this.share.keys()].filter((region) => this.share[region] > 0)
      .sort((a, b) => this.share[b] - this.share[a]);
  }

  nodeAt(x, y) { // of fractions of the picture
    const column = clamp(Math.floor(x * this.width), 0, this.width - 1);
    const row = clamp(Math.floor(y * this.height), 0, this.height - 1);
    return this.numbers[row * this.width + column];
  }

  chain(node) { // the regions over a pixel, the smallest first
    const regions = [];
    for (; node > 0; node = this.parent[node]) regions.push(this.region[node]);
    return regions;
  }

  deepestNodeOf(region) { // some node in which the region is the smallest
    return this.region.indexOf(region);
  }

  inside(region) { // per node: whether its pixels lie in the region
    const inside = new Uint8Array(this.parent.length);
    for (let node = 1; node < inside.length; node++) {
      inside[node] = this.region[node] === region || inside[this.parent[node]];
    }
    return inside;
  }
}

// ---------------------------------------------------------------- one question's answer, per node

class Answer {
  constructor(regions, told, scale) {
    this.words = told.words;
    this.colours = told.colours;
    this.scores = told.scores;
    const nodes = regions.parent.length;
    const count = this.words.length;
    this.mean = new Float32Array(nodes * count); // mean score of the regions over a pixel
    this.label = new Int16Array(nodes).fill(-1);
    this.sure = new Float32Array(nodes);
    const sums = new Float32Array(nodes * count);
    for (let node = 1; node < nodes; node++) {
      const row = told.scores[regions.region[node]];
      const above = regions.parent[node] * count;
      let best = 0;
      for (let k = 0; k < count; k++) {
        const sum = sums[above + k] + row[k];
        sums[node * count + k] = sum;
        this.mean[node * count + k] = sum / regions.depth[node];
        if (sum > sums[node * count + best]) best = k;
      }
      let total = 0;
      for (let k = 0; k < count; k++) total += Math.exp((sums[node * count + k] - sums[node * count + best]) * scale);
      this.label[node] = best;
      this.sure[node] = 1 / total;
    }
    this.range = this.words.map((_, k) => {
      const column = told.scores.map((row) => row[k]);
      return column.length ? [Math.min(...column), Math.max(...column)] : [0, 1];
    });
    this.low = Math.min(...this.range.map((pair) => pair[0]));
    this.high = Math.max(...this.range.map((pair) => pair[1]));
  }

  meanOf(node, word) { return this.mean[node * this.words.length + word]; }

  probabilities(region, scale) { // softmax of one region's own scores
    const row = this.scores[region];
    const top = Math.max(...row);
    const raised = row.map((score) => Math.exp((score - top) * scale));
    const total = raised.reduce((sum, value) => sum + value, 0);
    return raised.map((value) => value / total);
  }
}

// ---------------------------------------------------------------- what the page is about

const state = {
  info: null,
  page: '',
  id: null, // of the picture
  name: '',
  regions: null,
  answer: null,
  show: 'map',
  heatOf: '', // word
  least: null, // score below which words are hidden
  hover: { node: 0, level: 0 },
  pin: { node: 0, level: 0 },
  wanted: -1, // region to be pinned once the picture is there
  cross: null,
};
const regionOf = ({ node, level }) => {
  if (!state.regions || node <= 0) return -1;
  const chain = state.regions.chain(node);
  return chain[clamp(level, 0, chain.length - 1)];
};
const wordsOf = (id) => [...new Set($(id).value.split(SEPARATORS).map((word) => word.trim()).filter(Boolean))].slice(0, 256);
const typedWords = () => wordsOf('words');

// ---------------------------------------------------------------- the address holds the question

let written = '';
let remembering = 0;
function rememberSoon() { // browsers take their time over an address, and allow only so many
  clearTimeout(remembering);
  remembering = setTimeout(remember, 250);
}
function remember() {
  clearTimeout(remembering);
  const hash = new URLSearchParams();
  if (state.page === 'one' && state.id) {
    hash.set('picture', state.id);
    if (typedWords().length) hash.set('words', typedWords().join(', '));
    if (state.show !== 'map') hash.set('show', state.show);
    if (state.show === 'heat' && state.heatOf) hash.set('heat', state.heatOf);
    if ($('opacity').value !== '55') hash.set('opacity', $('opacity').value);
    if (state.least !== null) hash.set('least', state.least.toFixed(4));
    if ($('outline').checked) hash.set('outline', '1');
    if (!$('named').checked) hash.set('names', '0');
    if (state.pin.node) hash.set('region', regionOf(state.pin));
    else if (state.wanted >= 0) hash.set('region', state.wanted);
  } else if (state.page === 'pictures' && state.info.index) hash.set('pictures', '');
  else if (state.page === 'search') {
    for (const [name, value] of searchQuestion()) hash.set(name, value);
  }
  const text = hash.toString();
  if (text === written) return;
  const before = new URLSearchParams(written);
  const elsewhere = ['picture', 'pictures', 'like'].some((name) => hash.get(name) !== before.get(name));
  written = text;
  history[elsewhere ? 'pushState' : 'replaceState'](null, '', `${location.pathname}${text ? `#${text}` : ''}`);
}

async function restore() {
  const hash = new URLSearchParams(location.hash.slice(1));
  written = hash.toString();
  try {
    complain(null);
    if (hash.get('picture')) {
      $('words').value = hash.get('words') || (hash.size === 1 ? $('words').value : '');
      state.show = ['map', 'heat', 'regions'].includes(hash.get('show')) ? hash.get('show') : 'map';
      state.heatOf = hash.get('heat') || '';
      $('opacity').value = hash.get('opacity') || '55';
      state.least = hash.has('least') ? Number(hash.get('least')) || 0 : null;
      $('outline').checked = hash.get('outline') === '1';
      $('named').checked = hash.get('names') !== '0';
      await openPicture(hash.get('picture'), hash.has('region') ? Number(hash.get('region')) : -1);
    } else if (state.info.index && !hash.has('pictures')) {
      await openSearch(hash);
    } else if (state.info.pictures === 1) {
      const { pictures } = await askJson('/api/pictures?count=1');
      written = new URLSearchParams({ picture: pictures[0].id }).toString(); // the way back leads out of the page
      await openPicture(pictures[0].id);
    } else turnTo(state.info.pictures ? 'pictures' : 'start');
  } catch (error) {
    complain(error);
    turnTo(state.info.pictures ? 'pictures' : state.info.index ? 'search' : 'start');
  }
}

function turnTo(page) {
  state.page = page;
  for (const name of ['start', 'pictures', 'one', 'search']) $(name).hidden = name !== page;
  $('to-pictures').hidden = !(state.info.pictures > 1);
  $('to-search').hidden = !state.info.index;
  for (const name of ['pictures', 'search']) {
    if (name === page) $(`to-${name}`).setAttribute('aria-current', 'page');
    else $(`to-${name}`).removeAttribute('aria-current');
  }
  if (page === 'pictures') listPictures();
  if (page !== 'one') document.title = 'TextRegion';
}

// ---------------------------------------------------------------- a picture: opened, encoded, shown

let visit = 0; // a newer one ends what an older one waits for
async function openPicture(id, region = -1) {
  const mine = ++visit;
  leavePicture();
  Object.assign(state, {
    id, regions: null, answer: null, name: '', hover: { node: 0, level: 0 }, pin: { node: 0, level: 0 }, cross: null, wanted: region,
  });
  turnTo('one');
  complain(null);
  redraw();
  const facts = await askJson(pictureAddress(id));
  if (mine !== visit) return;
  state.name = facts.name;
  $('title').textContent = facts.name;
  document.title = `${facts.name} - TextRegion`;
  $('photo').alt = facts.name;
  $('stage').setAttribute('aria-label', `Picture ${facts.name}`);
  $('photo').src = pictureAddress(id, '/view');
  remember();
  if (!(await untilEncoded(id, mine))) return;
  const [told, map] = await Promise.all([
    askJson(pictureAddress(id, '/regions')),
    ask(pictureAddress(id, '/map')).then((answer) => answer.arrayBuffer()).then(decodeGreyPng),
    $('photo').decode().catch(() => {}),
  ]);
  if (mine !== visit) return;
  state.regions = new Regions(told, map);
  state.wanted = -1;
  if (region >= 0 && region < state.regions.count) pinRegion(region);
  say(`${state.regions.count} regions were found.`);
  await askScores();
  redraw();
}

function leavePicture() {
  if (state.id && !$('cancel').hidden) fetch(pictureAddress(state.id, '/encoding'), { method: 'DELETE' }).catch(() => {});
  $('progress').hidden = true;
  $('cancel').hidden = true;
  $('photo').removeAttribute('src');
  $('title').textContent = '';
}

async function untilEncoded(id, mine) {
  let report = await askJson(pictureAddress(id, '/encoding'), { method: 'POST' });
  while (mine === visit && report.state !== 'ready') {
    if (report.state === 'failed') {
      $('progress').hidden = true;
      throw new Error(report.error);
    }
    showProgress(report);
    await new Promise((done) => setTimeout(done, 200));
    report = await askJson(pictureAddress(id));
    if (report.state === 'new' && mine === visit) report = await askJson(pictureAddress(id, '/encoding'), { method: 'POST' });
  }
  if (mine === visit) $('progress').hidden = $('cancel').hidden = true;
  return mine === visit;
}

function showProgress({ state: now, stage, seconds, share }) {
  const text = now === 'encoding' && seconds >= 1 ? `${stage} ... ${Math.round(seconds)} s` : `${stage} ...`;
  if ($('progress-text').textContent !== text) $('progress-text').textContent = text;
  if (now === 'encoding' && share) $('bar').value = share;
  else $('bar').removeAttribute('value');
  $('cancel').hidden = now !== 'waiting';
  $('progress').hidden = false;
}

async function takePicture(file) {
  try {
    await ready;
    complain(null);
    if (file.size > state.info.upload_bytes) {
      throw new Error(`This picture has ${(file.size / 2 ** 20).toFixed(0)} MiB, more than the ${Math.floor(state.info.upload_bytes / 2 ** 20)} that are taken.`);
    }
    const facts = await askJson('/api/pictures', {
      method: 'POST', body: file, headers: { 'Content-Type': 'application/octet-stream', 'X-Name': encodeURIComponent(file.name || 'pasted') },
    });
    await openPicture(facts.id);
  } catch (error) {
    complain(error);
  }
}

// ---------------------------------------------------------------- scores: one small question for new words

let asking = null;
let again = false;
async function askScores() {
  const words = typedWords();
  if (!state.regions || !words.length) {
    state.answer = null;
    return;
  }
  if (asking) { // one at a time; the newest words come next
    again = true;
    return asking;
  }
  asking = (async () => {
    do {
      again = false;
      const [id, regions] = [state.id, state.regions];
      const now = typedWords();
      if (!regions || !now.length) { state.answer = null; break; }
      try {
        const told = await askJson(pictureAddress(id, '/scores'), { json: { words: now } });
        if (regions === state.regions) state.answer = new Answer(regions, told, state.info.scale);
        if (document.getElementById('error').dataset.of === 'scores') complain(null);
      } catch (error) {
        $('error').dataset.of = 'scores';
        complain(error);
      }
    } while (again);
  })();
  await asking;
  asking = null;
}

let typing = 0;
let pause = 40; // milliseconds; a server that needs long for a word is not asked for every letter
function wordsChanged() {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const began = performance.now();
    await askScores();
    pause = clamp(performance.now() - began, 40, 500);
    redraw();
  }, pause);
}

// ---------------------------------------------------------------- painting

const HEAT = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
function heatColour(t) {
  const at = clamp(t, 0, 1) * (HEAT.length - 1);
  const low = Math.min(Math.floor(at), HEAT.length - 2);
  return HEAT[low].map((value, i) => Math.round(value + (HEAT[low + 1][i] - value) * (at - low)));
}
const pack = ([red, green, blue], alpha) => ((Math.round(alpha * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const rgbOf = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const softColour = (region) => { // of a region that has no word
  const hue = (region * 137.508) % 360;
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (0.58 - 0.3 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
};

function shown() { // what is painted in fact
  if (!state.answer) return 'regions';
  if (state.show === 'map' && state.answer.words.length === 1) return 'heat';
  return state.show;
}
const heatWord = () => Math.max(0, state.answer.words.indexOf(state.heatOf));

const isHidden = (node, word) => state.least !== null && state.answer.meanOf(node, word) < state.least;

function look() { // per node: what its pixels belong to, and their colour
  const { regions, answer } = state;
  const nodes = regions.parent.length;
  const [group, colour] = [new Int32Array(nodes).fill(-1), new Array(nodes)];
  const how = shown();
  const word = how === 'heat' ? heatWord() : 0;
  const heats = how === 'heat' ? answer.range[word] : null;
  const hues = answer ? answer.colours.map(rgbOf) : [];
  for (let node = 1; node < nodes; node++) {
    if (how === 'regions') {
      group[node] = regions.region[node];
      colour[node] = softColour(group[node]);
      continue;
    }
    const label = how === 'heat' ? word : answer.label[node];
    const mean = answer.meanOf(node, label);
    if (isHidden(node, label)) continue;
    group[node] = how === 'heat' ? regions.region[node] : label;
    colour[node] = how === 'heat' ? heatColour((mean - heats[0]) / (heats[1] - heats[0] || 1)) : hues[label];
  }
  return { how, group, colour, heats, word };
}

function paint() {
  const { regions } = state;
  const canvas = $('paint');
  if (!regions) {
    canvas.width = canvas.height = 1;
    return;
  }
  const { width, height, numbers } = regions;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const seen = look();
  const opacity = $('opacity').value / 100;
  const outlined = $('outline').checked;
  const fills = new Uint32Array(seen.group.length);
  const edges = new Uint32Array(seen.group.length);
  for (let node = 1; node < fills.length; node++) {
    if (seen.group[node] < 0) continue;
    const alpha = seen.how === 'heat' ? Math.min(1, 1.3 * opacity) : opacity;
    fills[node] = outlined ? 0 : pack(seen.colour[node], alpha);
    edges[node] = seen.how === 'heat' && !outlined ? fills[node] : pack(seen.colour[node], outlined ? 1 : Math.min(1, opacity + 0.4));
  }
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const reach = outlined ? 2 : 1;
  const { group } = seen;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const node = numbers[i];
      const own = group[node];
      if (own < 0) continue;
      const edge = (x >= reach && group[numbers[i - reach]] !== own) || (x + reach < width && group[numbers[i + reach]] !== own)
        || (y >= reach && group[numbers[i - reach * width]] !== own) || (y + reach < height && group[numbers[i + reach * width]] !== own);
      pixels[i] = edge ? edges[node] : fills[node];
    }
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

function light() { // the region under the pointer, and the pinned one
  const canvas = $('light');
  const { regions } = state;
  if (!regions) {
    canvas.width = canvas.height = 1;
    return;
  }
  const { width, height, numbers } = regions;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pinned = regionOf(state.pin);
  const hovered = regionOf(state.hover);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  if (pinned >= 0) drawRegion(pixels, regions.inside(pinned), width, height, numbers, 0, pack([0, 0, 0], 0.28));
  if (hovered >= 0 && hovered !== pinned) drawRegion(pixels, regions.inside(hovered), width, height, numbers, pack([255, 255, 255], 0.28), null);
  canvas.getContext('2d').putImageData(image, 0, 0);
}

function drawRegion(pixels, inside, width, height, numbers, fill, around) {
  const [white, black] = [pack([255, 255, 255], 1), pack([0, 0, 0], 1)];
  const near = (i, x, y, reach) => !((x < reach || inside[numbers[i - reach]]) && (x + reach >= width || inside[numbers[i + reach]])
    && (y < reach || inside[numbers[i - reach * width]]) && (y + reach >= height || inside[numbers[i + reach * width]]));
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (inside[numbers[i]]) {
        if (near(i, x, y, 1) || near(i, x, y, 2)) pixels[i] = white;
        else if (near(i, x, y, 3)) pixels[i] = black;
        else if (fill || around !== null) pixels[i] = fill;
      } else if (around !== null) pixels[i] = around;
    }
  }
}

// ---------------------------------------------------------------- names on regions

function placeNames() { // [{ text, x, y, room }] of fractions of the map's width, the largest pieces first
  const { regions, answer } = state;
  const { group, how } = look();
  if (!answer || how !== 'map') return [];
  const step = Math.max(1, Math.ceil(Math.max(regions.width, regions.height) / 220));
  const width = Math.ceil(regions.width / step);
  const height = Math.ceil(regions.height / step);
  const label = new Int16Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) label[y * width + x] = group[regions.numbers[y * step * regions.width + x * step]];
  }
  const room = depthInside(label, width, height);
  const places = [];
  const done = new Uint8Array(label.length);
  for (let start = 0; start < label.length; start++) {
    if (done[start] || label[start] < 0) continue;
    const piece = flood(label, start, width, height, done);
    if (piece.length < label.length * 0.0012) continue; // too small to be read
    const deepest = piece.reduce((best, i) => (room[i] > room[best] ? i : best), piece[0]);
    places.push({
      text: answer.words[label[start]], size: piece.length, room: (room[deepest] * step) / regions.width,
      x: (((deepest % width) + 0.5) * step) / regions.width, y: ((Math.floor(deepest / width) + 0.5) * step) / regions.height,
    });
  }
  places.sort((a, b) => b.size - a.size);
  const largest = new Map();
  return places.filter(({ text, size }) => { // crumbs of a word that stands elsewhere go without
    if (!largest.has(text)) largest.set(text, size);
    return size >= largest.get(text) * 0.15;
  });
}

function depthInside(label, width, height) { // about how far each pixel is from another label, in two sweeps
  const room = new Float32Array(label.length);
  const nearer = (i, j, way) => (label[j] === label[i] ? room[j] + way : 0.5);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!x || !y) { room[i] = 0.5; continue; }
      room[i] = Math.min(nearer(i, i - 1, 1), nearer(i, i - width, 1), nearer(i, i - width - 1, 1.41), x + 1 < width ? nearer(i, i - width + 1, 1.41) : 0.5);
    }
  }
  for (let y = height - 1, i = label.length - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--, i--) {
      if (x + 1 === width || y + 1 === height) { room[i] = Math.min(room[i], 0.5); continue; }
      room[i] = Math.min(room[i], nearer(i, i + 1, 1), nearer(i, i + width, 1), nearer(i, i + width + 1, 1.41), x ? nearer(i, i + width - 1, 1.41) : 0.5);
    }
  }
  return room;
}

function flood(label, start, width, height, done) {
  const piece = [start];
  done[start] = 1;
  for (let at = 0; at < piece.length; at++) {
    const i = piece[at];
    const x = i % width;
    for (const j of [x ? i - 1 : -1, x + 1 < width ? i + 1 : -1, i - width, i + width]) {
      if (j >= 0 && j < label.length && !done[j] && label[j] === label[start]) {
        done[j] = 1;
        piece.push(j);
      }
    }
  }
  return piece;
}

function drawNames(context, width, height, unit) { // unit: pixels of the canvas to a pixel of the screen
  const taken = [];
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  for (const { text, x, y, room } of placeNames()) {
    const size = clamp(room * width * 0.75, 12 * unit, 22 * unit);
    context.font = `600 ${size}px system-ui, sans-serif`;
    const wide = context.measureText(text).width;
    const roomy = 2.6 * room * width;
    if (size * 0.8 > roomy || (wide > roomy * 1.8 && room * width < 9 * unit)) continue;
    const centre = [clamp(x * width, wide / 2 + 3 * unit, width - wide / 2 - 3 * unit), clamp(y * height, size / 2 + 3 * unit, height - size / 2 - 3 * unit)];
    const box = [centre[0] - wide / 2, centre[1] - size / 2, centre[0] + wide / 2, centre[1] + size / 2];
    if (wide > width || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    taken.push(box);
    context.strokeStyle = 'rgba(0, 0, 0, .82)';
    context.lineWidth = size / 4.5;
    context.strokeText(text, ...centre);
    context.fillStyle = '#fff';
    context.fillText(text, ...centre);
  }
}

function names() {
  const canvas = $('names');
  const unit = window.devicePixelRatio || 1;
  const box = $('stage').getBoundingClientRect();
  Object.assign(canvas, { width: Math.max(1, Math.round(box.width * unit)), height: Math.max(1, Math.round(box.height * unit)) });
  if (state.regions && $('named').checked) drawNames(canvas.getContext('2d'), canvas.width, canvas.height, unit);
}

// ---------------------------------------------------------------- the panel

function redraw() {
  showSettings();
  paint();
  light();
  names();
  showLegend();
  showRegion();
  rememberSoon();
}

function showSettings() {
  const { answer } = state;
  for (const radio of document.querySelectorAll('input[name="show"]')) {
    radio.checked = radio.value === (state.regions ? shown() : state.show);
    radio.disabled = (radio.value === 'map' && answer?.words.length === 1) || (radio.value !== 'regions' && !!state.regions && !answer);
  }
  const single = answer?.words.length === 1;
  $('show-hint').hidden = !(single || (answer && shown() === 'heat'));
  $('show-hint').textContent = single
    ? 'One word has no rival: its heat is shown. A second word makes a class map.'
    : 'Heat: the mean score of the regions over a pixel, from the lowest (violet) to the highest (yellow). Choose the word in the list.';
  $('opacity-value').textContent = `${$('opacity').value} %`;
  $('least').disabled = !answer;
  if (answer) $('least').value = state.least === null ? 0 : Math.round((100 * (state.least - answer.low)) / (answer.high - answer.low || 1));
  $('least-value').textContent = state.least === null ? 'none' : state.least.toFixed(3);
  for (const id of ['take-overlay', 'take-labels', 'take-coco']) $(id).disabled = !state.regions || (id !== 'take-overlay' && !answer);
}

function shares() { // of the picture that each word takes in the class map
  const { regions, answer } = state;
  const shares = new Array(answer.words.length).fill(0);
  regions.pixels.forEach((count, node) => {
    const label = answer.label[node];
    if (label >= 0 && !isHidden(node, label)) shares[label] += count / regions.numbers.length;
  });
  return shares;
}

function element(name, settings = {}, ...children) {
  const made = Object.assign(document.createElement(name), settings);
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element('span', { className: 'swatch' });
  made.style.background = colour;
  return made;
}

function showLegend() {
  const { answer } = state;
  const focused = document.activeElement?.dataset?.word;
  $('legend-hint').hidden = !!answer;
  $('legend').replaceChildren();
  if (!answer || !state.regions) return;
  const portions = shares();
  const mapped = shown() === 'map';
  const order = [...answer.words.keys()].sort((a, b) => portions[b] - portions[a] || answer.range[b][1] - answer.range[a][1]);
  for (const k of order) {
    const hot = shown() === 'heat' && heatWord() === k;
    const figures = mapped ? percent(portions[k]) : `best ${answer.range[k][1].toFixed(3)}`;
    const button = element('button', { type: 'button', title: `Best region's score ${answer.range[k][1].toFixed(3)}; click for this word's heat` },
      swatch(answer.colours[k]), element('span', { className: 'word', textContent: answer.words[k] }),
      element('span', { className: 'figure', textContent: mapped && !portions[k] ? 'nowhere' : figures }));
    button.dataset.word = answer.words[k];
    button.setAttribute('aria-pressed', String(hot));
    button.addEventListener('click', () => {
      state.show = hot ? 'map' : 'heat';
      state.heatOf = answer.words[k];
      redraw();
    });
    $('legend').append(element('li', {}, button));
    if (focused === answer.words[k]) button.focus();
  }
}

function showRegion() {
  const { regions, answer } = state;
  const region = regionOf(state.pin);
  $('region').hidden = region < 0;
  $('region-hint').hidden = region >= 0;
  if (region < 0) return;
  const chain = regions.chain(state.pin.node);
  $('region-facts').textContent = `Number ${region} of ${regions.count}: ${percent(regions.share[region])} of the picture, SAM 2's own score ${regions.iou[region].toFixed(2)}.`;
  $('smaller').disabled = state.pin.level <= 0;
  $('larger').disabled = state.pin.level >= chain.length - 1;
  $('more-like').hidden = !state.info.index;
  $('region-words').replaceChildren();
  if (!answer) return;
  const probability = answer.probabilities(region, state.info.scale);
  const best = [...answer.words.keys()].sort((a, b) => answer.scores[region][b] - answer.scores[region][a]).slice(0, 8);
  for (const k of best) {
    $('region-words').append(element('li', {}, swatch(answer.colours[k]), element('span', { className: 'word', textContent: answer.words[k] }),
      element('span', { className: 'figure', textContent: `${answer.scores[region][k].toFixed(3)} · ${percent(probability[k])}` })));
  }
}

function describe(region) {
  const { answer } = state;
  if (!answer) return `Region ${region}`;
  const row = answer.scores[region];
  const best = row.indexOf(Math.max(...row));
  return `${answer.words[best]} ${row[best].toFixed(3)}`;
}

// ---------------------------------------------------------------- pointing

function point(x, y) { // fractions of the picture; null: nowhere
  const node = state.regions && x !== null ? state.regions.nodeAt(x, y) : 0;
  if (node !== state.hover.node) state.hover = { node, level: 0 };
  showHover(x, y);
}

function showHover(x, y) {
  const region = regionOf(state.hover);
  $('tip').hidden = region < 0 || x === null;
  if (!$('tip').hidden) {
    $('tip').textContent = describe(region);
    const [left, below] = [x < 0.6, y < 0.8];
    Object.assign($('tip').style, {
      left: left ? `calc(${100 * x}% + 14px)` : '', right: left ? '' : `calc(${100 * (1 - x)}% + 14px)`,
      top: below ? `calc(${100 * y}% + 14px)` : '', bottom: below ? '' : `calc(${100 * (1 - y)}% + 14px)`,
    });
  }
  $('stage').dataset.hover = region;
  light();
}

function walk(target, steps) { // to larger (+1) or smaller (-1) regions; whether there was one
  if (!state.regions || !target.node) return false;
  const level = clamp(target.level + steps, 0, state.regions.chain(target.node).length - 1);
  const moved = level !== target.level;
  target.level = level;
  return moved;
}

function pin(target) {
  const same = target.node && regionOf(target) === regionOf(state.pin);
  state.pin = target.node && !same ? { ...target } : { node: 0, level: 0 };
  pinned();
}

function pinned() {
  const region = regionOf(state.pin);
  $('stage').dataset.pinned = region;
  light();
  showRegion();
  rememberSoon();
  if (region >= 0) say(`Region ${region} is pinned: ${describe(region)}, ${percent(state.regions.share[region])} of the picture.`);
}

function pinRegion(region) {
  const node = state.regions.deepestNodeOf(region);
  if (node > 0) state.pin = { node, level: 0 };
  pinned();
}

const fractions = (event) => {
  const box = $('stage').getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};

let pointed = [null, null];
let frame = 0;
$('stage').addEventListener('pointermove', (event) => {
  if (event.pointerType === 'touch') return;
  pointed = fractions(event);
  $('cross').hidden = true;
  if (!frame) frame = requestAnimationFrame(() => { frame = 0; point(...pointed); });
});
$('stage').addEventListener('pointerleave', () => { pointed = [null, null]; point(null, null); });
$('stage').addEventListener('click', (event) => {
  const [x, y] = fractions(event);
  if (!state.regions) return;
  const node = state.regions.nodeAt(x, y);
  if (node !== state.hover.node) state.hover = { node, level: 0 };
  pin(state.hover);
});
$('stage').addEventListener('wheel', (event) => {
  if (event.ctrlKey || !walk(state.hover, event.deltaY < 0 ? 1 : -1)) return;
  event.preventDefault();
  showHover(...pointed);
}, { passive: false });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
$('stage').addEventListener('keydown', (event) => {
  if (!state.regions || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ARROWS) {
    const [x, y] = state.cross || [0.5, 0.5];
    const step = event.shiftKey ? 0.1 : 0.02;
    state.cross = [clamp(x + ARROWS[event.key][0] * step, 0, 0.999), clamp(y + ARROWS[event.key][1] * step, 0, 0.999)];
    moveCross();
  } else if (event.key === '+' || event.key === '-') {
    const step = event.key === '+' ? 1 : -1;
    if (walk(state.hover, step)) showHover(...(state.cross || pointed));
    else if (!state.hover.node && walk(state.pin, step)) pinned();
    if (state.hover.node) say(describe(regionOf(state.hover)));
  } else if (event.key === 'Enter' || event.key === ' ') pin(state.hover);
  else if (event.key === 'Escape') pin({ node: 0, level: 0 });
  else if (['n', 'N', 'p', 'P'].includes(event.key)) {
    const order = state.regions.bySize;
    const at = order.indexOf(regionOf(state.pin));
    const next = event.key.toLowerCase() === 'n' ? at + 1 : at < 0 ? order.length - 1 : at - 1;
    if (order.length) pinRegion(order[(next + order.length) % order.length]);
  } else return;
  event.preventDefault();
});
function moveCross() {
  const [x, y] = state.cross;
  Object.assign($('cross').style, { left: `${100 * x}%`, top: `${100 * y}%` });
  $('cross').hidden = false;
  point(x, y);
  const region = regionOf(state.hover);
  say(region < 0 ? 'No region' : describe(region));
}
$('stage').addEventListener('blur', () => { $('cross').hidden = true; });

for (const [id, step] of [['smaller', -1], ['larger', 1]]) {
  $(id).addEventListener('click', () => { if (walk(state.pin, step)) pinned(); });
}
$('unpin').addEventListener('click', () => { pin({ node: 0, level: 0 }); $('stage').focus(); });

// ---------------------------------------------------------------- settings

$('words').addEventListener('input', wordsChanged);
$('ask').addEventListener('submit', (event) => { event.preventDefault(); wordsChanged(); });
for (const radio of document.querySelectorAll('input[name="show"]')) {
  radio.addEventListener('change', () => { state.show = radio.value; redraw(); });
}
$('opacity').addEventListener('input', () => { showSettings(); paint(); });
$('opacity').addEventListener('change', remember);
$('least').addEventListener('input', () => {
  const { answer } = state;
  state.least = Number($('least').value) && answer ? answer.low + ($('least').value / 100) * (answer.high - answer.low) : null;
  redraw();
});
for (const id of ['outline', 'named']) $(id).addEventListener('change', redraw);
new ResizeObserver(() => names()).observe($('stage'));
$('photo').addEventListener('load', () => {
  const { naturalWidth: width, naturalHeight: height } = $('photo');
  $('stage').style.setProperty('--aspect', width / height);
  $('stage').style.setProperty('--natural', width);
});

// ---------------------------------------------------------------- taking away

function save(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
const stem = () => state.name.split('/').pop().replace(/\.[^.]*$/, '') || 'picture';
const onClick = (id, act) => $(id).addEventListener('click', () => { complain(null); act().catch(complain); });

async function saveFile(what, name, options) {
  save(await (await ask(pictureAddress(state.id, what), options)).blob(), `${stem()}_${name}`);
}
onClick('take-coco', () => saveFile('/coco', 'coco.json', { json: { words: typedWords() } }));
onClick('take-labels', () => saveFile('/labels', 'labels.png', { json: { words: typedWords() } }));
onClick('cutout', () => saveFile(`/regions/${regionOf(state.pin)}/cutout`, `region_${regionOf(state.pin)}.png`));
onClick('take-overlay', async () => {
  const photo = $('photo');
  const canvas = element('canvas', { width: photo.naturalWidth, height: photo.naturalHeight });
  const context = canvas.getContext('2d');
  for (const layer of [photo, $('paint')]) context.drawImage(layer, 0, 0, canvas.width, canvas.height);
  if (regionOf(state.pin) >= 0) context.drawImage($('light'), 0, 0, canvas.width, canvas.height);
  if ($('named').checked) drawNames(context, canvas.width, canvas.height, canvas.width / $('stage').getBoundingClientRect().width);
  save(await new Promise((done) => canvas.toBlob(done, 'image/png')), `${stem()}_overlay.png`);
});
onClick('take-link', async () => {
  remember();
  try {
    await navigator.clipboard.writeText(location.href);
    say('The link was copied.');
    $('take-link').textContent = 'Copied';
    setTimeout(() => { $('take-link').textContent = 'Copy link'; }, 2000);
  } catch {
    throw new Error('The browser does not let the link be copied: copy it from the address line.');
  }
});

// ---------------------------------------------------------------- pictures to choose from, and dropped ones

const whenSeen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    whenSeen.unobserve(target);
    target.src = target.dataset.src;
  }
}, { rootMargin: '100px' });

function thumbnail(id, name, ...over) {
  const image = element('img', { alt: '', draggable: false });
  image.dataset.src = pictureAddress(id, '/thumbnail');
  whenSeen.observe(image);
  return element('button', { type: 'button', title: name }, element('span', { className: 'thumb' }, image, ...over),
    element('span', { className: 'name', textContent: name }));
}

class Endless { // a grid that asks for more when its end comes into view
  constructor(grid, end, more) {
    Object.assign(this, { grid, end, more, done: false, busy: false, round: 0 });
    this.watch = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) this.load(); }, { rootMargin: '200px' });
    this.watch.observe(end);
  }

  restart() {
    this.grid.replaceChildren();
    Object.assign(this, { done: false, busy: false, round: this.round + 1 });
    return this.load();
  }

  async load() {
    if (this.busy || this.done) return;
    this.busy = true;
    const round = this.round;
    let made = { items: [], done: true };
    try {
      made = await this.more();
    } catch (error) {
      complain(error);
    }
    if (round !== this.round) return;
    this.grid.append(...made.items);
    Object.assign(this, { done: made.done, busy: false });
    this.watch.unobserve(this.end); // so that an end that is still in view is told again
    this.watch.observe(this.end);
  }
}

let listed = 0;
const pictureGrid = new Endless($('picture-grid'), $('pictures-end'), async () => {
  const { count, pictures } = await askJson(`/api/pictures?start=${listed}&count=40`);
  listed += pictures.length;
  const items = pictures.map(({ id, name }) => {
    const button = thumbnail(id, name);
    button.addEventListener('click', () => openPicture(id).catch(complain));
    return element('li', {}, button);
  });
  return { items, done: !pictures.length || listed >= count };
});
function listPictures() {
  $('pictures-title').textContent = `Pictures (${state.info.pictures})`;
  if (!listed) pictureGrid.load();
}
function leaveFor(page) {
  visit += 1;
  leavePicture();
  state.id = null;
  turnTo(page);
  remember();
}
$('to-pictures').addEventListener('click', () => leaveFor('pictures'));
$('cancel').addEventListener('click', () => (state.info.pictures > 1 ? leaveFor('pictures') : leaveFor('start')));

$('file').addEventListener('change', () => { if ($('file').files[0]) takePicture($('file').files[0]); $('file').value = ''; });
addEventListener('dragover', (event) => { event.preventDefault(); document.body.classList.add('dropping'); });
addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('dropping'); });
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  if (event.dataTransfer.files[0]) takePicture(event.dataTransfer.files[0]);
});
addEventListener('paste', (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith('image/'));
  if (file) takePicture(file);
});
addEventListener('popstate', () => { if (location.hash.slice(1) !== written) restore(); });

// ---------------------------------------------------------------- search

const seek = { like: null, seen: { start: 0, line: false } }; // like: { picture, region, name, size_hw, outline }

function outlined({ size_hw: [height, width], outline }) {
  const drawing = $('outlined').content.firstElementChild.cloneNode(true);
  drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
  for (const path of drawing.children) path.setAttribute('d', outline);
  return drawing;
}

function hitItem(hit, line) {
  const sure = hit.relevance === null ? '' : ` · ${percent(hit.relevance)}`;
  const button = thumbnail(hit.picture, `${hit.score.toFixed(3)}${sure} · ${hit.name}`, outlined(hit));
  button.addEventListener('click', () => {
    if (wordsOf('q').length) $('words').value = [...wordsOf('q'), ...wordsOf('minus')].join(', ');
    openPicture(hit.picture, hit.region).catch(complain);
  });
  const more = element('button', { type: 'button', className: 'more', textContent: 'More like this' });
  more.setAttribute('aria-label', `More like this region of ${hit.name}`);
  more.addEventListener('click', () => likeRegion(hit));
  return element('li', { className: hit.relevance !== null && hit.relevance < line ? 'weak' : '' }, button, more);
}

const hitGrid = new Endless($('hit-grid'), $('hits-end'), async () => {
  const words = wordsOf('q');
  if (!words.length && !seek.like) return { items: [], done: true };
  const like = seek.like && { picture: seek.like.picture, region: seek.like.region };
  const { seen } = seek; // a newer question has its own
  const first = seen.start === 0;
  const told = await askJson('/api/search', { json: { words, minus: wordsOf('minus'), like, start: seen.start, count: 24 } });
  if (seen !== seek.seen) return { items: [], done: true };
  seen.start += told.hits.length;
  if (first) tellVerdict(told);
  const items = [];
  for (const hit of told.hits) {
    if (hit.relevance !== null && hit.relevance < told.line && !seen.line) {
      seen.line = true;
      if (told.found) items.push(element('li', { className: 'line', textContent: 'From here on it is less likely than not.' }));
    }
    items.push(hitItem(hit, told.line));
  }
  return { items, done: !told.more };
});

function tellVerdict({ hits, found }) {
  $('verdict').textContent = !hits.length ? 'There is no other picture.'
    : found === null ? 'The most similar regions, one of each picture.'
      : found ? 'Found; the best region of each picture, the best first.'
        : 'Nothing like it seems to be here. The nearest:';
}

async function search() {
  complain(null);
  seek.seen = { start: 0, line: false };
  $('verdict').textContent = wordsOf('q').length || seek.like ? 'Searching ...'
    : `${state.info.index.regions} regions of ${state.info.index.pictures} pictures: type what to look for.`;
  showLike();
  remember();
  await hitGrid.restart();
  if ($('verdict').textContent === 'Searching ...') $('verdict').textContent = '';
}

function showLike() {
  $('like').hidden = !seek.like;
  $('like-shown').replaceChildren();
  if (!seek.like) return;
  const thumb = element('span', { className: 'thumb' }, element('img', { src: pictureAddress(seek.like.picture, '/thumbnail'), alt: `Region ${seek.like.region} of ${seek.like.name}` }));
  if (seek.like.outline) thumb.append(outlined(seek.like));
  $('like-shown').append(thumb);
}

function likeRegion(hit) {
  seek.like = hit;
  $('q').value = $('minus').value = '';
  if (state.page !== 'search') leaveFor('search');
  scrollTo(0, 0);
  search().catch(complain);
}

function searchQuestion() {
  const pairs = [['q', wordsOf('q').join(', ')], ['minus', wordsOf('minus').join(', ')]];
  if (seek.like) pairs.push(['like', `${seek.like.picture}:${seek.like.region}`]);
  return pairs.filter(([, value]) => value);
}

async function openSearch(hash) {
  $('q').value = hash.get('q') || '';
  $('minus').value = hash.get('minus') || '';
  const [picture, region] = (hash.get('like') || '').split(':');
  seek.like = picture ? { picture, region: Number(region) || 0, name: '' } : null;
  turnTo('search');
  await search();
  $('q').focus();
}

$('seek').addEventListener('submit', (event) => { event.preventDefault(); search().catch(complain); });
$('unlike').addEventListener('click', () => { seek.like = null; search().catch(complain); $('q').focus(); });
$('to-search').addEventListener('click', () => {
  leaveFor('search');
  if (!$('verdict').textContent) search().catch(complain);
});
$('more-like').addEventListener('click', () => likeRegion({ picture: state.id, region: regionOf(state.pin), name: state.name, size_hw: state.regions.size, outline: '' }));

// ---------------------------------------------------------------- begin

async function begin() {
  state.info = await askJson('/api/info');
  $('words').value = state.info.words.join(', ');
  await restore();
}
const ready = begin().catch(complain); // a picture may be dropped before
