// The answer as an element of the page. Follows a running answer by server-sent events, and again after a break.
// Thinking stands above it, folded once the answer itself begins, and is rendered only while it is open.

import { toRaw } from "vue";
import { Answer } from "/_foredraft/static/answer.js";
import { atEnd, soon, toEnd } from "/_foredraft/static/showing.js";

const EVERY = 40; // milliseconds between two renderings at least
const BUDGET = 12; // milliseconds of one rendering, where there is more than one block to show

const seen = (token) => /\S/.test(token[7] ?? token[0]);

export default {
  template: `
    <div class="fd-answer">
      <details v-show="thinks" class="fd-thinking" :open="open" @toggle="toggled">
        <summary @click="touched = true">{{ words.thinking }}</summary>
        <div ref="thought" :class="{ 'fd-prose': thinks }" :lang="textLang || null" @mousemove="hover"
             @mouseleave="tip = null"></div>
      </details>
      <div ref="body" class="fd-prose" :lang="textLang || null" :aria-busy="running || !whole ? 'true' : 'false'"
           @mousemove="hover" @mouseleave="tip = null"></div>
      <div v-show="running" class="fd-live"><span class="fd-pulse" aria-hidden="true"></span><span ref="status"></span></div>
      <div v-if="tip" class="fd-tip" role="tooltip" :style="tip.style">{{ tip.text }}</div>
    </div>`,
  props: { tokens: Array, src: String, words: Object, inspector: Boolean, textLang: String },
  data: () => ({ running: false, whole: false, tip: null, thinks: false, open: false, touched: false }),
  mounted() {
    this.answer = new Answer(this.$refs.body, this.words, { nearby: true });
    this.due = 0;
    this.box = this.$el.closest(".fd-scroll");
    if (this.tokens?.length) this.push(toRaw(this.tokens));
    if (this.src) this.follow();
    soon(this.show);
  },
  beforeUnmount() {
    this.gone = true;
    this.events?.close();
    clearTimeout(this.timer);
    this.answer.drop();
    this.thought?.drop();
  },
  methods: {
    push(tokens) {
      const thoughts = tokens.filter((token) => token[6] === "t");
      if (thoughts.length) {
        if (!this.thought) {
          this.thought = new Answer(this.$refs.thought, this.words, { nearby: true });
          this.thought.live = this.running;
        }
        this.thought.push(thoughts);
        this.thinks ||= thoughts.some(seen);
        tokens = tokens.filter((token) => token[6] !== "t");
      }
      this.answer.push(tokens);
      this.said ||= tokens.some(seen);
      if (!this.touched) this.open = this.thinks && !this.said;
    },
    written() {
      return this.answer.tokens.length + (this.thought?.tokens.length ?? 0);
    },
    toggled(event) {
      this.open = event.target.open;
      if (this.open) soon(this.show);
    },
    follow() {
      this.running = this.answer.live = true;
      this.say(this.words.waiting);
      this.events = new EventSource(this.src);
      this.events.addEventListener("reset", () => {
        this.answer.reset();
        this.thought?.reset();
        this.first = null;
        this.said = this.thinks = false;
      });
      this.events.addEventListener("tokens", (event) => this.take(JSON.parse(event.data)));
      this.events.addEventListener("prompt", (event) => {
        const [read, total] = JSON.parse(event.data);
        this.say(this.words.reading.replace("{p}", Math.round((100 * read) / total)));
      });
      this.events.addEventListener("end", () => this.end());
      this.events.addEventListener("error", () => {
        if (this.events.readyState === EventSource.CLOSED) this.end();
        else this.say(this.words.reconnecting);
      });
    },
    say(text) {
      this.$refs.status.textContent = text;
    },
    take(tokens) {
      const now = performance.now();
      this.push(tokens);
      this.first ??= [now, this.written()];
      if (this.timer) return;
      this.timer = setTimeout(() => requestAnimationFrame(this.tick), Math.max(0, this.due - now));
    },
    tick() {
      this.timer = null;
      if (!this.running) return;
      if (!this.show(performance.now() + BUDGET)) soon(this.show);
      // Rendering takes a quarter of the time at most, however slow the machine and however long the block.
      this.due = performance.now() + Math.max(EVERY, 4 * (this.answer.cost + (this.open ? this.thought.cost : 0)));
    },
    progress() {
      // Said when the answer is shown, not when it comes: a page is drawn once for both.
      const seconds = (performance.now() - this.first[0]) / 1000;
      const written = this.written();
      const speed = seconds > 0.4 ? ((written - this.first[1]) / seconds).toFixed(0) : "–";
      this.say(this.words.live.replace("{n}", written).replace("{tps}", speed));
    },
    show(until) {
      if (this.gone) return true;
      const pinned = atEnd(this.box); // asked first: it is known then, without laying the page out once more
      if (this.running && this.first) this.progress();
      const thought = !this.open || !this.thought || this.thought.render(!this.running, until);
      const all = this.answer.render(!this.running, until) && thought;
      if (pinned) toEnd(this.box);
      this.whole = all;
      return all;
    },
    end() {
      if (!this.running) return;
      this.events.close();
      this.running = false;
      if (!this.show(performance.now() + BUDGET)) soon(this.show);
      this.$emit("ended");
    },
    hover(event) {
      if (!this.inspector) return;
      const shown = event.currentTarget === this.$refs.thought ? this.thought : this.answer;
      const token = shown.inspect(event.clientX, event.clientY);
      if (!token) {
        this.tip = null;
        return;
      }
      const [text, origin, position, source, probability, guess] = token;
      const parts = [JSON.stringify(text), this.words.origins[origin] ?? origin];
      if (position) parts.push(this.words.position.replace("{n}", position));
      if (source) parts.push(source);
      if (probability != null) parts.push(`p = ${probability}`);
      if (guess) parts.push(this.words.guessed.replace("{guess}", JSON.stringify(guess)));
      const x = Math.min(event.clientX, window.innerWidth - 320);
      this.tip = { text: parts.join(" · "), style: { left: `${x}px`, top: `${event.clientY + 18}px` } };
    },
  },
};
