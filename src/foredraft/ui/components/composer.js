// Where a message is typed. The text lives in the browser, so a slow or lost server never costs a letter.

const LONGEST = 4_000_000; // characters

export default {
  template: `
    <form class="fd-composer" @submit.prevent="send">
      <label class="fd-sr" :for="'fd-text'">{{ words.label }}</label>
      <textarea id="fd-text" ref="text" rows="1" v-model="text" :placeholder="words.placeholder" @keydown="key"
                @input="changed"></textarea>
      <div class="fd-composer-row">
        <span class="hint">{{ problem || words.hint }}</span>
        <span v-if="context" class="fd-meter" :title="words.context">
          <progress :value="used" :max="context" :aria-label="words.context"></progress>
          <span>{{ used.toLocaleString() }} / {{ context.toLocaleString() }}</span>
        </span>
        <button v-if="busy" type="button" class="fd-btn primary" data-key="stop" @click="$emit('stop')">
          <i class="material-icons" aria-hidden="true">stop</i>{{ words.stop }}</button>
        <button v-else type="submit" class="fd-btn primary" :disabled="!ready || !text.trim()">
          <i class="material-icons" aria-hidden="true">arrow_upward</i>{{ words.send }}</button>
      </div>
    </form>`,
  props: { words: Object, unsent: String, chat: String, busy: Boolean, ready: Boolean, used: Number, context: Number },
  data: () => ({ text: "", problem: "" }),
  mounted() {
    this.text = this.unsent || "";
    this.$nextTick(this.fit);
    // What shows answers is read while nobody waits for it, so that the first answer begins at once.
    (window.requestIdleCallback ?? setTimeout)(() => import("/_foredraft/static/answer.js"));
    if (matchMedia("(min-width: 56.3125em)").matches) this.$refs.text.focus({ preventScroll: true });
  },
  watch: {
    chat() {
      this.text = this.unsent || "";
      this.$nextTick(this.fit);
    },
  },
  methods: {
    fit() {
      const area = this.$refs.text;
      area.style.height = "auto";
      area.style.height = `${Math.min(area.scrollHeight, window.innerHeight * 0.4)}px`;
    },
    changed() {
      this.fit();
      this.problem = this.text.length > LONGEST ? this.words.long : "";
      clearTimeout(this.timer);
      this.timer = setTimeout(this.keep, 400);
    },
    keep() {
      if (this.text.length > 200_000) return;
      const body = JSON.stringify({ chat: this.chat, text: this.text });
      fetch("/_foredraft/unsent", { method: "POST", body }).catch(() => {}); // the server is away: the text stays here
    },
    key(event) {
      if (event.isComposing || event.keyCode === 229) return; // the Enter that ends a Japanese conversion
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.send();
      } else if (event.key === "ArrowUp" && !this.text) {
        const last = [...document.querySelectorAll('[data-edit="user"]')].pop();
        if (last) {
          event.preventDefault();
          last.click();
        }
      }
    },
    async send() {
      const text = this.text.trim();
      if (!text || this.busy || !this.ready || text.length > LONGEST) return;
      clearTimeout(this.timer);
      this.problem = "";
      try {
        const answer = await fetch("/_foredraft/send", {
          method: "POST",
          body: JSON.stringify({ chat: this.chat, text, page: this.words.page }),
        });
        const result = await answer.json();
        if (result.error) throw new Error(result.error);
        this.text = "";
        this.$nextTick(this.fit);
        this.$emit("sent", result.chat);
      } catch (error) {
        this.problem = error instanceof TypeError ? this.words.gone : error.message;
      }
    },
  },
};
