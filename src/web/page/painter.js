// The mandala, painted: with WebGL 1 where there is a graphics chip, else with Canvas 2D; and the picture that
// moves. What is painted is `mandala.js`' business.

import { plan, figure, begin, advance, KEY_HZ, RING, TAU, INK, clamp01, mix } from './mandala.js';

// ---------------------------------------------------------------- painter: WebGL 1

const VERT = `
attribute vec3 a0; attribute vec2 a1; attribute vec3 b0; attribute vec2 b1;
attribute float side; attribute vec4 rgba; attribute float wd;
uniform float u; uniform vec2 res; uniform vec3 place; uniform float px; uniform float fat; uniform float dim; uniform vec3 far;
varying vec4 vCol; varying vec2 vSide;
void main(){
  vec2 p=mix(a0.xy,b0.xy,u), q=mix(a1,b1,u), d=q-p; float l=max(length(d),1e-6); d/=l;
  float depth=mix(a0.z,b0.z,u);
  float w=(wd*px*mix(.75,1.25,depth)+fat*px)*.5+1.;
  vec2 pos=place.xy+p*place.z+vec2(-d.y,d.x)*side*w;
  vCol=vec4(mix(far,rgba.rgb,.35+.65*depth),rgba.a*depth*dim); vSide=vec2(side*w,w);
  gl_Position=vec4(pos.x/res.x*2.-1.,1.-pos.y/res.y*2.,0.,1.);
}`;
const FRAG = `
precision mediump float; varying vec4 vCol; varying vec2 vSide;
void main(){ float e=smoothstep(0.,1.8,vSide.y-abs(vSide.x)); float a=vCol.a*e; gl_FragColor=vec4(vCol.rgb*a,0.); }`;
const PVERT = `
attribute vec4 a; attribute vec4 b; uniform float u; uniform vec2 res; uniform vec3 place; uniform float size; varying float vL;
void main(){ vec4 m=mix(a,b,u); vec2 pos=place.xy+m.xy*place.z; vL=m.w; gl_PointSize=max(3.,m.z*place.z*size);
  gl_Position=vec4(pos.x/res.x*2.-1.,1.-pos.y/res.y*2.,0.,1.); }`;
const PFRAG = `
precision mediump float; varying float vL; uniform vec3 col; uniform float soft;
void main(){ float d=length(gl_PointCoord-.5)*2.; float a=smoothstep(1.,soft,d)*vL; gl_FragColor=vec4(col*a,0.); }`;
const QVERT = `attribute vec2 a; varying vec2 v; void main(){ v=a*.5+.5; gl_Position=vec4(a,0.,1.); }`;
const BLUR = `
precision mediump float; varying vec2 v; uniform sampler2D t; uniform vec2 d;
void main(){ vec4 s=texture2D(t,v)*.227;
 s+=(texture2D(t,v+d*1.38)+texture2D(t,v-d*1.38))*.316; s+=(texture2D(t,v+d*3.23)+texture2D(t,v-d*3.23))*.0703; gl_FragColor=s; }`;
const SUM = `
precision highp float; varying vec2 v; uniform sampler2D t; uniform vec2 res; uniform vec3 place; uniform vec3 heart; uniform vec3 edge; uniform vec4 k; uniform vec3 ground;
float h(vec2 p){ return fract(sin(dot(p,vec2(12.9898,78.233)))*43758.5453); }
void main(){ vec2 p=vec2(v.x,1.-v.y)*res; float r=length(p-place.xy)/place.z;
 vec3 c=ground+edge*.055*k.y*exp(-r*r*1.1);
 c+=mix(edge,heart,k.z)*k.x*(.75*exp(-r*r*420.)+.22*exp(-r*r*60.)+.10*exp(-r*r*9.)+.05*exp(-r*r*2.2));
 c+=texture2D(t,v).rgb*k.w; c+=(h(p)-.5)/255.; gl_FragColor=vec4(c,1.); }`;

function program(gl, vs, fs) {
  const make = (type, src) => {
    const s = gl.createShader(type); gl.shaderSource(s, src); gl.compileShader(s);
    if (!gl.getShaderParameter(s, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(s) || 'shader');
    return s;
  };
  const p = gl.createProgram();
  gl.attachShader(p, make(gl.VERTEX_SHADER, vs)); gl.attachShader(p, make(gl.FRAGMENT_SHADER, fs));
  gl.linkProgram(p);
  if (!gl.getProgramParameter(p, gl.LINK_STATUS)) throw new Error('link');
  const at = {}, un = {};
  for (let i = 0; i < gl.getProgramParameter(p, gl.ACTIVE_ATTRIBUTES); i++) { const n = gl.getActiveAttrib(p, i).name; at[n] = gl.getAttribLocation(p, n); }
  for (let i = 0; i < gl.getProgramParameter(p, gl.ACTIVE_UNIFORMS); i++) { const n = gl.getActiveUniform(p, i).name; un[n] = gl.getUniformLocation(p, n); }
  return { p, at, un };
}

/** Paints with the graphics chip. Three key figures live in buffers: the chip blends between two of them, and
    meanwhile the third is brought there in pieces. */
function glPainter(canvas, p, force) {
  const gl = canvas.getContext('webgl', { alpha: false, antialias: false, depth: false, powerPreference: 'low-power', failIfMajorPerformanceCaveat: !force });
  if (!gl) return null;
  const line = program(gl, VERT, FRAG), dot = program(gl, PVERT, PFRAG), blur = program(gl, QVERT, BLUR), sum = program(gl, QVERT, SUM);
  const P = p.points, per = P + 2, total = p.strands + 1;   // one more thread: the still ring
  const verts = total * per * 2;                            // every point twice, for the two edges of its thread
  if (verts > 65536) throw new Error('too many points');
  const keys = [0, 1, 2].map(() => gl.createBuffer()), piece = new Float32Array(verts * 3), each = per * 6;
  const sides = new Float32Array(verts), sideBuf = gl.createBuffer(), index = new Uint16Array(total * (P * 2 + 4)), indexBuf = gl.createBuffer();
  let ni = 0;
  for (let i = 0; i < verts; i++) sides[i] = i % 2 ? 1 : -1;
  for (let s = 0; s < total; s++) {
    const b = s * per * 2;
    index[ni++] = b;
    for (let j = 0; j <= P; j++) { index[ni++] = b + j * 2; index[ni++] = b + j * 2 + 1; }
    index[ni++] = b + P * 2 + 1;
  }
  gl.bindBuffer(gl.ARRAY_BUFFER, sideBuf); gl.bufferData(gl.ARRAY_BUFFER, sides, gl.STATIC_DRAW);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indexBuf); gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, index.subarray(0, ni), gl.STATIC_DRAW);
  const look = new Float32Array(verts * 5), lookBuf = gl.createBuffer();
  const every = Math.round(P / 40), starMax = p.strands * Math.ceil(P / every);
  const stars = new Float32Array(starMax * 4), starBuf = keys.map(() => gl.createBuffer()), starCount = [0, 0, 0];
  const beadBuf = keys.map(() => gl.createBuffer());
  const quad = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, quad); gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);

  for (let j = 0, o = p.strands * each; j < per; j++) {      // the ring is the same in every figure
    const x = p.cos[j % P] * RING, y = p.sin[j % P] * RING;
    for (let i = 0; i < 2; i++) { piece[o++] = x; piece[o++] = y; piece[o++] = 1; }
  }
  for (const buf of keys) { gl.bindBuffer(gl.ARRAY_BUFFER, buf); gl.bufferData(gl.ARRAY_BUFFER, piece, gl.DYNAMIC_DRAW); }
  const beads = [0, 0, 0], lights = keys.map(() => ({}));
  let w = 0, h = 0, targets = [];
  const target = (tw, th) => {
    const tex = gl.createTexture(); gl.bindTexture(gl.TEXTURE_2D, tex);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, tw, th, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    for (const [k, v] of [[gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE]]) gl.texParameteri(gl.TEXTURE_2D, k, v);
    const fb = gl.createFramebuffer(); gl.bindFramebuffer(gl.FRAMEBUFFER, fb);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, tex, 0);
    return { tex, fb, w: tw, h: th };
  };
  const drop = (list) => { for (const t of list) { gl.deleteTexture(t.tex); gl.deleteFramebuffer(t.fb); } };

  /** Brings the strands `from` to `to` of a figure to the chip. */
  function bring(slot, fig, from, to) {
    let o = 0;
    for (let s = from; s < to; s++) for (let j = 0; j < per; j++) {
      const q = s * P + (j >= P ? j - P : j), x = fig.xy[q * 2], y = fig.xy[q * 2 + 1], z = fig.depth[q];
      piece[o++] = x; piece[o++] = y; piece[o++] = z; piece[o++] = x; piece[o++] = y; piece[o++] = z;
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, keys[slot]); gl.bufferSubData(gl.ARRAY_BUFFER, from * each * 4, piece.subarray(0, o));
  }

  let lookAge = 0;
  /** All strands of a figure are there: what belongs to it follows. */
  function key(slot, fig) {
    let stars0 = 0;
    for (let s = 0; s < p.strands; s++) if (fig.look[s * 6 + 5] > 0.5) for (let j = (s * 3) % every; j < P; j += every) {
      const q = s * P + j, at = stars0++ * 4;
      stars[at] = fig.xy[q * 2]; stars[at + 1] = fig.xy[q * 2 + 1];
      stars[at + 2] = 0.0035 * (0.5 + fig.depth[q]); stars[at + 3] = Math.min(1, fig.look[s * 6 + 3] * (0.5 + 2.2 * fig.depth[q]));
    }
    if (lookAge++ % 2 === 0) {                       // looks change slowly: three times a second is enough
      const e = p.palette.edge;
      for (let s = 0, at = 0; s < total; s++) {
        const ring = s === p.strands, L = s * 6, k = fig.look;
        const r0 = ring ? e[0] / 255 : k[L], g0 = ring ? e[1] / 255 : k[L + 1], b0 = ring ? e[2] / 255 : k[L + 2];
        const a0 = ring ? 0.36 : k[L + 5] > 0.5 ? 0 : k[L + 3], w0 = ring ? 1.2 : k[L + 4];
        for (let i = 0; i < per * 2; i++) { look[at++] = r0; look[at++] = g0; look[at++] = b0; look[at++] = a0; look[at++] = w0; }
      }
      gl.bindBuffer(gl.ARRAY_BUFFER, lookBuf); gl.bufferData(gl.ARRAY_BUFFER, look, gl.DYNAMIC_DRAW);
    }
    starCount[slot] = stars0;
    if (stars0) { gl.bindBuffer(gl.ARRAY_BUFFER, starBuf[slot]); gl.bufferData(gl.ARRAY_BUFFER, stars, gl.DYNAMIC_DRAW); }
    gl.bindBuffer(gl.ARRAY_BUFFER, beadBuf[slot]); gl.bufferData(gl.ARRAY_BUFFER, fig.beads, gl.DYNAMIC_DRAW);
    beads[slot] = fig.beadCount + fig.marker; lights[slot] = Object.assign({}, fig.light);
  }

  const use = (loc, buf, size, str, off) => {
    if (loc === undefined || loc < 0) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, buf); gl.enableVertexAttribArray(loc); gl.vertexAttribPointer(loc, size, gl.FLOAT, false, str, off);
  };
  const quiet = (prog) => { for (const n in prog.at) gl.disableVertexAttribArray(prog.at[n]); };

  function threads(A, B, u, W, H, place, px, fat, dim) {
    gl.useProgram(line.p);
    use(line.at.a0, keys[A], 3, 12, 0); use(line.at.a1, keys[A], 2, 12, 24);
    use(line.at.b0, keys[B], 3, 12, 0); use(line.at.b1, keys[B], 2, 12, 24);
    use(line.at.side, sideBuf, 1, 4, 0); use(line.at.rgba, lookBuf, 4, 20, 0); use(line.at.wd, lookBuf, 1, 20, 16);
    const pe = p.palette.edge, pd = p.palette.dusk, wm = lights[B].warm, e = [mix(pd[0], pe[0], wm), mix(pd[1], pe[1], wm), mix(pd[2], pe[2], wm)];
    gl.uniform1f(line.un.u, u); gl.uniform2f(line.un.res, W, H); gl.uniform3f(line.un.place, place[0], place[1], place[2]);
    gl.uniform1f(line.un.px, px); gl.uniform1f(line.un.fat, fat); gl.uniform1f(line.un.dim, dim); gl.uniform3f(line.un.far, e[0] / 255, e[1] / 255, e[2] / 255);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indexBuf); gl.drawElements(gl.TRIANGLE_STRIP, ni, gl.UNSIGNED_SHORT, 0);
    quiet(line);
  }

  return {
    bring, key,
    resize(W, H) {
      w = canvas.width = W; h = canvas.height = H; drop(targets);
      targets = [target(Math.ceil(W / 4), Math.ceil(H / 4)), target(Math.ceil(W / 4), Math.ceil(H / 4))];
    },
    /** Blend from key `A` to key `B` by u. place = [cx, cy, radius] in px, ground = rgb 0..1. */
    paint(A, B, u, place, ground) {
      const px = place[2] / 500, t = (k) => mix(lights[A][k] || 0, lights[B][k] || 0, u);
      gl.disable(gl.DEPTH_TEST); gl.enable(gl.BLEND); gl.blendFunc(gl.ONE, gl.ONE);
      // glow at a quarter of the size
      gl.bindFramebuffer(gl.FRAMEBUFFER, targets[0].fb); gl.viewport(0, 0, targets[0].w, targets[0].h);
      gl.clearColor(0, 0, 0, 1); gl.clear(gl.COLOR_BUFFER_BIT);
      threads(A, B, u, w, h, place, px, 4.0, 0.50 * t('gain'));
      gl.disable(gl.BLEND); gl.useProgram(blur.p); use(blur.at.a, quad, 2, 8, 0);
      for (let i = 0; i < 4; i++) {
        const from = targets[i % 2], to = targets[(i + 1) % 2], s = i < 2 ? 1 : 2.6;
        gl.bindFramebuffer(gl.FRAMEBUFFER, to.fb); gl.bindTexture(gl.TEXTURE_2D, from.tex);
        gl.uniform2f(blur.un.d, i % 2 ? 0 : s / from.w, i % 2 ? s / from.h : 0); gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      }
      quiet(blur);
      // ground, core and glow
      gl.bindFramebuffer(gl.FRAMEBUFFER, null); gl.viewport(0, 0, w, h);
      gl.useProgram(sum.p); use(sum.at.a, quad, 2, 8, 0); gl.bindTexture(gl.TEXTURE_2D, targets[0].tex);
      const c = (a) => a.map((x) => x / 255), he = c(p.palette.heart), ed = c(p.palette.edge);
      gl.uniform2f(sum.un.res, w, h); gl.uniform3f(sum.un.place, place[0], place[1], place[2]);
      gl.uniform3f(sum.un.heart, he[0], he[1], he[2]); gl.uniform3f(sum.un.edge, ed[0], ed[1], ed[2]);
      gl.uniform4f(sum.un.k, t('core'), t('veil'), t('warm'), 0.85); gl.uniform3f(sum.un.ground, ground[0], ground[1], ground[2]);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4); quiet(sum);
      // threads
      gl.enable(gl.BLEND); gl.blendFunc(gl.ONE, gl.ONE);
      threads(A, B, u, w, h, place, px, 0, 1.0 * t('gain'));
      // points of light
      gl.useProgram(dot.p);
      gl.uniform1f(dot.un.u, u); gl.uniform2f(dot.un.res, w, h); gl.uniform3f(dot.un.place, place[0], place[1], place[2]);
      const n = Math.min(beads[A], beads[B]), m = Math.min(starCount[A], starCount[B]);
      if (m) {
        use(dot.at.a, starBuf[A], 4, 16, 0); use(dot.at.b, starBuf[B], 4, 16, 0);
        gl.uniform3f(dot.un.col, mix(ed[0], he[0], 0.5), mix(ed[1], he[1], 0.5), mix(ed[2], he[2], 0.5)); gl.uniform1f(dot.un.soft, 0.2); gl.uniform1f(dot.un.size, 2); gl.drawArrays(gl.POINTS, 0, m);
      }
      if (n) {
        use(dot.at.a, beadBuf[A], 4, 16, 0); use(dot.at.b, beadBuf[B], 4, 16, 0);
        gl.uniform3f(dot.un.col, he[0] * 0.34, he[1] * 0.34, he[2] * 0.34); gl.uniform1f(dot.un.soft, 0.0); gl.uniform1f(dot.un.size, 9); gl.drawArrays(gl.POINTS, 0, n);
        gl.uniform3f(dot.un.col, he[0], he[1], he[2]); gl.uniform1f(dot.un.soft, 0.55); gl.uniform1f(dot.un.size, 2.1); gl.drawArrays(gl.POINTS, 0, n);
      }
      quiet(dot);
    },
  };
}

// ---------------------------------------------------------------- painter: Canvas 2D
// The fallback, the still pictures, the phone. One figure, no blending between keys.

const rgb = (a, al) => 'rgba(' + (a[0] | 0) + ',' + (a[1] | 0) + ',' + (a[2] | 0) + ',' + al.toFixed(3) + ')';
const blend = (a, b, t) => [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)];

/**
 * The light in the middle, under all threads. These three paint a figure, one after the other, on an empty canvas.
 * @param {CanvasRenderingContext2D} g
 * @param {object} p plan   @param {object} fig figure
 * @param {{x: number, y: number, radius: number, ink?: boolean, glow?: HTMLCanvasElement}} at
 */
function paintCore(g, p, fig, at) {
  const { x, y, radius: R, ink } = at, lg = fig.light;
  g.lineCap = 'round'; g.lineJoin = 'round';
  g.globalCompositeOperation = ink ? 'source-over' : 'lighter';
  if (ink) return;
  const core = blend(p.palette.edge, p.palette.heart, lg.warm), grad = g.createRadialGradient(x, y, 0, x, y, R);
  grad.addColorStop(0, rgb(core, 0.42 * lg.core)); grad.addColorStop(0.16, rgb(core, 0.17 * lg.core));
  grad.addColorStop(0.5, rgb(core, 0.05 * lg.core + 0.02 * lg.veil)); grad.addColorStop(1, rgb(core, 0));
  g.fillStyle = grad; g.beginPath(); g.arc(x, y, R, 0, TAU); g.fill();
}

/** The threads `from` to `to`. */
function paintThreads(g, p, fig, at, from, to) {
  const { x, y, radius: R, ink } = at, P = p.points, lg = fig.light, px = Math.max(R / 500, 0.72);
  const lift = Math.min(2, Math.pow(Math.max(1, 500 / R), 0.8));   // small pictures need stronger threads
  const colours = ink ? INK : p.palette;
  for (let s = from; s < to; s++) {
    const L = s * 6, lk = fig.look, al = lk[L + 3];
    if (al < 0.01) continue;
    let col = [lk[L] * 255, lk[L + 1] * 255, lk[L + 2] * 255];
    if (ink) { const tn = p.layers[p.layerOf[s]].tone; col = blend(colours.dusk, tn < 0.5 ? blend(colours.heart, colours.body, tn * 2) : blend(colours.body, colours.edge, tn * 2 - 1), lg.warm); }
    if (lk[L + 5] > 0.5) {                      // waiting: points of light
      g.fillStyle = rgb(col, Math.min(1, al * 1.5 * lift));
      const step = Math.max(4, Math.round(P / 40)), r = Math.max(0.7, 1.35 * px * (lk[L + 4]));
      g.beginPath();
      for (let j = (s * 3) % step; j < P; j += step) { const q = (s * P + j) * 2, a = x + fig.xy[q] * R, b = y + fig.xy[q + 1] * R, rr = r * (0.35 + 0.65 * fig.depth[s * P + j]); g.moveTo(a + rr, b); g.arc(a, b, rr, 0, TAU); }
      g.fill(); continue;
    }
    // three shades of depth, so a thread passes in front and behind
    for (let band = 0; band < 3; band++) {
      const lo = band / 3, hi = band === 2 ? 2 : (band + 1) / 3;
      g.beginPath(); let pen = false;
      for (let j = 0; j <= P; j++) {
        const i = s * P + (j === P ? 0 : j), z = fig.depth[i], q = i * 2;
        const inside = z >= lo && z < hi, X = x + fig.xy[q] * R, Y = y + fig.xy[q + 1] * R;
        if (pen) g.lineTo(X, Y);
        if (inside && !pen) g.moveTo(X, Y);
        pen = inside;
      }
      g.strokeStyle = rgb(ink ? col : blend(blend(colours.dusk, colours.edge, lg.warm), col, 0.45 + 0.55 * lo), Math.min(1, al * lg.gain * lift * (ink ? 1.2 : 1.1) * (lo + 0.17) * 1.15));
      g.lineWidth = Math.max(0.6, lk[L + 4] * px * (0.8 + 0.4 * lo)); g.stroke();
    }
  }
}

/** The glow of what was painted, and the beads. */
function paintLights(g, p, fig, at) {
  const { x, y, radius: R, ink } = at, colours = ink ? INK : p.palette;
  if (at.glow && !ink) {                        // glow: the same picture, small, laid back softly
    const k = at.glow, kg = k.getContext('2d'), src = g.canvas;
    kg.globalCompositeOperation = 'copy'; kg.imageSmoothingEnabled = true; kg.drawImage(src, 0, 0, k.width, k.height);
    g.globalAlpha = 0.55; g.imageSmoothingEnabled = true; g.imageSmoothingQuality = 'high';
    g.drawImage(k, 0, 0, src.width, src.height); g.globalAlpha = 1;
  }
  for (let i = 0; i < fig.beadCount; i++) {
    const bx = x + fig.beads[i * 4] * R, by = y + fig.beads[i * 4 + 1] * R, br = Math.max(1.4, fig.beads[i * 4 + 2] * R), l = fig.beads[i * 4 + 3];
    if (!ink) { g.fillStyle = rgb(colours.heart, 0.16 * l); g.beginPath(); g.arc(bx, by, br * 3, 0, TAU); g.fill(); }
    g.fillStyle = rgb(colours.heart, 0.9 * l); g.beginPath(); g.arc(bx, by, br, 0, TAU); g.fill();
  }
}

/** The still ring with the breath's mark at the bottom; turning the canvas moves it: up on the left in, down on the right out. */
function paintRing(g, p, marked, at) {
  const { x, y, radius: R, ink } = at, c = ink ? INK : p.palette, px = Math.max(R / 500, 0.72), rgb = (a, al) => 'rgba(' + a.join(',') + ',' + al + ')';
  g.strokeStyle = rgb(c.edge, ink ? 0.55 : 0.36); g.lineWidth = Math.max(1, 1.2 * px);
  g.beginPath(); g.arc(x, y, R * RING, 0, TAU); g.stroke();
  if (!marked) return;
  const bx = x, by = y + R * RING, br = Math.max(3, 0.0105 * R);
  g.fillStyle = rgb(c.heart, 0.2); g.beginPath(); g.arc(bx, by, br * 2.6, 0, TAU); g.fill();
  g.fillStyle = rgb(c.heart, 1); g.beginPath(); g.arc(bx, by, br, 0, TAU); g.fill();
}

// ---------------------------------------------------------------- the moving picture

/**
 * Runs the mandala on a canvas.
 *   const m = mandala(canvas, { seed, over, state: (time) => ({...}) });  m.stop();
 * `state(time)` must be pure in time (s): it is asked a little ahead of now; give the breath of that moment.
 *
 * Two ways to move, chosen by what the machine has. In both a figure is made strand by strand over the frames
 * before its time, so that none of them takes long.
 *   webgl  key figures 6 times a second, blended by the graphics chip in every frame.
 *   2d     the figure is drawn a few times a second at full breath, out of sight, and shown when it is whole; the
 *          breath itself is a CSS scale, which costs nothing. The ring must not move, so it is drawn on `over`, a
 *          second canvas on top.
 * options: renderer 'auto' | 'webgl' (also by software, for still pictures) | '2d',
 *          detail 1 wall .. 0.5 phone, radius (share of the short side), centre [0..1, 0..1], ground '#rrggbb',
 *          box (2d on a wide screen: shrink the canvases to the figure), keyHz,
 *          ink (dark threads for light paper; 2d), still (reduced motion: one picture for each redraw()),
 *          lost() (the graphics chip was taken away: this picture moves no more).
 */
export function mandala(canvas, options) {
  const o = Object.assign({ renderer: 'auto', detail: 1, radius: 0.46, centre: [0.5, 0.5], ground: '#0a0f16', keyHz: 8, ring: true }, options);
  const p = plan(o.seed, { detail: o.detail, points: o.points });
  const ground = [1, 3, 5].map((i) => parseInt(o.ground.slice(i, i + 2), 16) / 255);
  let gl = null;
  if (o.renderer !== '2d' && !o.ink && !o.still) { try { gl = glPainter(canvas, p, o.renderer === 'webgl'); } catch (e) { const fresh = canvas.cloneNode(); canvas.replaceWith(fresh); canvas = fresh; } }   // a canvas keeps its first context
  const g = gl ? null : canvas.getContext('2d'), top = !gl && o.over ? o.over.getContext('2d') : null;
  const spare = (w, h) => Object.assign(document.createElement('canvas'), { width: w, height: h });
  const glow = g && !o.ink ? spare(8, 8) : null, draft = g && !o.still ? spare(8, 8).getContext('2d') : null;
  const figs = [null, null, null], stats = { renderer: gl ? 'webgl' : '2d', frames: 0 };
  let running = true, scale = Math.min(o.maxScale || 2, window.devicePixelRatio || 1) * (g && o.box ? 0.8 : 1), last = -1, slow = 0, W = 0, H = 0, keyHz = gl ? KEY_HZ : o.keyHz;
  let making = null;             // the figure for a moment that will come: { job, slot }
  // 2d with `box`: only the square that holds the figure is a canvas, not the whole screen
  const box = g && o.box, side = 2.26 * o.radius;
  const place = () => (box ? [W / 2, H / 2, W / 2.26] : [W * o.centre[0], H * o.centre[1], Math.min(W, H) * o.radius]);
  const at = () => { const [x, y, radius] = place(); return { x, y, radius, ink: o.ink, glow }; };
  let ringed = '', before = 0;
  if (g) for (const el of [canvas, o.over]) if (el) { el.style.transformOrigin = box ? '50% 50%' : o.centre[0] * 100 + '% ' + o.centre[1] * 100 + '%'; el.style.willChange = 'transform'; }

  function fit() {
    if (box) {
      const vw = window.innerWidth, vh = window.innerHeight, d = Math.round(Math.min(vw, vh) * side);
      for (const el of [canvas, o.over]) if (el) { el.style.width = el.style.height = d + 'px'; el.style.left = vw * o.centre[0] - d / 2 + 'px'; el.style.top = vh * o.centre[1] - d / 2 + 'px'; }
    }
    const w = Math.max(2, Math.round(canvas.clientWidth * scale)), h = Math.max(2, Math.round(canvas.clientHeight * scale));
    if (w === W && h === H) return;
    W = w; H = h; last = -1; ringed = '';
    if (gl) { gl.resize(W, H); return; }
    for (const el of [canvas, top && o.over, draft && draft.canvas]) if (el) { el.width = W; el.height = H; }
    if (glow) { glow.width = Math.ceil(W / 8); glow.height = Math.ceil(H / 8); }
  }
  const wanted = (time) => { const s = o.state(time); if (s.time === undefined) s.time = time; return s; };

  /** Begins the figure of key `k`. */
  function begins(k) {
    const slot = k % 3, state = wanted(k / keyHz);
    const job = begin(p, gl ? state : Object.assign({}, state, { breath: 1 }), figs[slot]);
    figs[slot] = job.out;
    making = { job, slot };
    if (draft) { draft.globalCompositeOperation = 'source-over'; draft.clearRect(0, 0, W, H); paintCore(draft, p, job.out, at()); }
  }

  /** Makes so many strands more of it, and shows it where it is whole. */
  function make(strands) {
    if (!making) return;
    const { job, slot } = making, from = job.strand, whole = advance(job, strands);
    if (gl) gl.bring(slot, job.out, from, job.strand); else paintThreads(draft, p, job.out, at(), from, job.strand);
    if (!whole) return;
    making = null;
    if (gl) { gl.key(slot, job.out); return; }
    paintLights(draft, p, job.out, at());
    g.clearRect(0, 0, W, H); g.drawImage(draft.canvas, 0, 0);
  }

  /** What is to be made in this frame, so that each key is there in its time: with webgl two are needed at once. */
  function keys(time, share) {
    const k = Math.floor(time * keyHz), ahead = gl ? 2 : 1;
    if (k !== last) {
      if (last < 0 || k > last + 1) for (let i = 0; i < ahead; i++) { begins(k + i); make(p.strands); }
      else make(p.strands);      // what is left of it
      begins(k + ahead);
      last = k;
    }
    make(Math.ceil(p.strands * share));
    return k;
  }

  function step(now) {
    if (!running) return;
    if (!o.still) requestAnimationFrame(step);
    const began = performance.now(), time = now / 1000, gap = now - before;
    before = now;
    fit();
    const share = Math.min(1, 1.25 * gap / 1000 * keyHz);   // a little more than the time that has passed
    if (gl) {
      const k = keys(time, share);
      gl.paint(k % 3, (k + 1) % 3, time * keyHz - k, place(), ground);
    } else {
      const s = wanted(time), breath = clamp01(s.breath === undefined ? 0.5 : s.breath), all = at();
      if (o.still) {
        figs[0] = figure(p, Object.assign({}, s, { breath: 1 }), figs[0]);
        g.globalCompositeOperation = 'source-over'; g.clearRect(0, 0, W, H);
        paintCore(g, p, figs[0], all); paintThreads(g, p, figs[0], all, 0, p.strands); paintLights(g, p, figs[0], all);
      } else keys(time, share);
      canvas.style.transform = 'scale(' + mix(0.885, 1, breath).toFixed(4) + ')'; canvas.style.opacity = mix(0.86, 1, breath).toFixed(3);
      if (top && o.ring) {
        const marked = s.breathTurn === null || s.breathTurn === undefined ? 0 : 1, key = W + ':' + marked;   // drawn once with the breath at the bottom, then turned by CSS
        if (key !== ringed) { ringed = key; top.clearRect(0, 0, W, H); paintRing(top, p, marked, all); }
        if (marked) o.over.style.transform = 'rotate(' + (s.breathTurn * 360).toFixed(2) + 'deg)';
      }
    }
    stats.frames++;
    // a machine that can't keep up is asked for less, and never again for more
    const ms = performance.now() - began;              // a hidden page leaves one long gap, which is not slowness
    slow = ms > 11 || (gap > 34 && gap < 400) ? slow + 1 : Math.max(0, slow - 0.2);
    if (slow > 30) { slow = 0; if (!gl && keyHz > 3) { keyHz -= 2; last = -1; } else if (scale > 0.6) scale *= 0.75; }
  }
  requestAnimationFrame(step);
  canvas.addEventListener('webglcontextlost', (e) => { e.preventDefault(); if (running && o.lost) o.lost(); });
  return { plan: p, stats, stop() { running = false; }, redraw() { if (running && o.still) requestAnimationFrame(step); } };
}
