// The answer as an element of the page. Follows a running answer by server-sent events, and again after a break.

import { Answer } from "/_foredraft/static/answer.js";

const EVERY = 40; // milliseconds between two renderings at least

export default {
  template: `
    <div class="fd-answer">
      <div ref="body" class="fd-prose" :lang="textLang || null" :aria-busy="running ? 'true' : 'false'"
           @mousemove="hover" @mouseleave="tip = null"></div>
      <div v-if="running" class="fd-live"><span class="fd-pulse" aria-hidden="true"></span>{{ status }}</div>
      <div v-if="tip" class="fd-tip" role="tooltip" :style="tip.style">{{ tip.text }}</div>
    </div>`,
  props: { tokens: Array, src: String, words: Object, inspector: Boolean, textLang: String },
  data: () => ({ running: false, status: "", tip: null }),
  mounted() {
    this.answer = new Answer(this.$refs.body, this.words);
    this.due = 0;
    if (this.tokens?.length) {
      this.answer.push(this.tokens);
      this.answer.render(!this.src);
    }
    if (this.src) this.follow();
  },
  beforeUnmount() {
    this.events?.close();
    clearTimeout(this.timer);
    this.answer.drop();
  },
  methods: {
    follow() {
      this.running = true;
      this.status = this.words.waiting;
      this.began = null;
      this.events = new EventSource(this.src);
      this.events.addEventListener("reset", () => {
        this.answer.reset();
        this.first = null;
      });
      this.events.addEventListener("tokens", (event) => this.take(JSON.parse(event.data)));
      this.events.addEventListener("prompt", (event) => {
        const [read, total] = JSON.parse(event.data);
        this.status = this.words.reading.replace("{p}", Math.round((100 * read) / total));
      });
      this.events.addEventListener("end", () => this.end());
      this.events.addEventListener("error", () => {
        if (this.events.readyState === EventSource.CLOSED) this.end();
        else this.status = this.words.reconnecting;
      });
    },
    take(tokens) {
      const now = performance.now();
      this.answer.push(tokens);
      this.first ??= [now, this.answer.tokens.length];
      const seconds = (now - this.first[0]) / 1000;
      const written = this.answer.tokens.length;
      const speed = seconds > 0.4 ? ((written - this.first[1]) / seconds).toFixed(0) : "–";
      this.status = this.words.live.replace("{n}", written).replace("{tps}", speed);
      this.schedule(now);
    },
    schedule(now) {
      if (this.timer) return;
      const wait = Math.max(0, this.due - now);
      this.timer = setTimeout(() => {
        requestAnimationFrame(() => {
          this.timer = null;
          if (!this.running) return;
          const pinned = atEnd(this.$el);
          this.answer.render();
          if (pinned) toEnd(this.$el);
          // Rendering takes a quarter of the time at most, however slow the machine and however long the block.
          this.due = performance.now() + Math.max(EVERY, 4 * this.answer.cost);
        });
      }, wait);
    },
    end() {
      if (!this.running) return;
      this.events.close();
      this.running = false;
      const pinned = atEnd(this.$el);
      this.answer.render(true);
      if (pinned) toEnd(this.$el);
      this.$emit("ended");
    },
    hover(event) {
      if (!this.inspector) return;
      const token = this.answer.inspect(event.clientX, event.clientY);
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

function scroller(element) {
  return element.closest(".fd-scroll");
}
function atEnd(element) {
  const box = scroller(element);
  return box && box.scrollHeight - box.scrollTop - box.clientHeight < 80;
}
function toEnd(element) {
  const box = scroller(element);
  if (box) box.scrollTop = box.scrollHeight;
}
