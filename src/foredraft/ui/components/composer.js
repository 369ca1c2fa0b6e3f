// Where a message is typed and files are added. Both live in the browser, so a slow or lost server never costs a letter.

const LONGEST = 4_000_000; // characters

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export default {
  template: `
    <form class="fd-composer" :class="{ dropping }" @submit.prevent="send">
      <p v-if="dropping" class="fd-drop">{{ words.drop }}</p>
      <ul v-if="files.length || reading" class="fd-files" :aria-label="words.files">
        <li v-for="(file, number) in files" :key="file.name + number" class="fd-file">
          <i class="material-icons" aria-hidden="true">description</i>
          <span class="name" :title="file.name">{{ file.name }}</span>
          <span>{{ about(file) }}</span>
          <button type="button" class="fd-icon small" :title="words.remove.replace('{name}', file.name)"
                  :aria-label="words.remove.replace('{name}', file.name)" @click="remove(number)">
            <i class="material-icons" aria-hidden="true">close</i></button>
        </li>
        <li v-if="reading" class="fd-file" role="status">{{ words.reading }}</li>
      </ul>
      <label class="fd-sr" :for="'fd-text'">{{ words.label }}</label>
      <textarea id="fd-text" ref="text" rows="1" v-model="text" :placeholder="words.placeholder" @keydown="key"
                @input="changed" @paste="paste"></textarea>
      <p v-if="problem" class="fd-problem" role="alert">{{ problem }}</p>
      <div class="fd-composer-row">
        <button type="button" class="fd-icon" :title="words.attach" :aria-label="words.attach" @click="$refs.pick.click()">
          <i class="material-icons" aria-hidden="true">attach_file</i></button>
        <input ref="pick" type="file" multiple hidden tabindex="-1" :aria-label="words.attach" @change="picked">
        <button v-if="structured" type="button" class="fd-chip as-button" data-key="structured" :title="words.structured"
                :aria-label="words.structured" @click="$emit('plain')">JSON
          <i class="material-icons" aria-hidden="true">close</i></button>
        <span class="hint">{{ words.hint }}</span>
        <span v-if="context" class="fd-meter" :title="words.context">
          <progress :value="taken" :max="context" :aria-label="words.context"></progress>
          <span>{{ taken.toLocaleString() }} / {{ context.toLocaleString() }}</span>
        </span>
        <button v-if="busy" type="button" class="fd-btn primary" data-key="stop" @click="$emit('stop')">
          <i class="material-icons" aria-hidden="true">stop</i>{{ words.stop }}</button>
        <button v-else type="submit" class="fd-btn primary" :disabled="!sendable">
          <i class="material-icons" aria-hidden="true">arrow_upward</i>{{ words.send }}</button>
      </div>
    </form>`,
  props: {
    words: Object, unsent: String, chat: String, busy: Boolean, ready: Boolean, structured: Boolean,
    used: Number, context: Number,
  },
  data: () => ({ text: "", problem: "", files: [], reading: 0, dropping: false }),
  computed: {
    pending() {
      return this.files.reduce((sum, file) => sum + file.tokens, 0);
    },
    taken() {
      return Math.min(this.used + this.pending, this.context);
    },
    sendable() {
      return this.ready && !this.busy && !this.reading && (this.text.trim() || this.files.length > 0);
    },
  },
  mounted() {
    this.text = this.keptText();
    this.files = this.keptFiles();
    this.$nextTick(this.fit);
    // What shows answers is read while nobody waits for it, so that the first answer begins at once.
    (window.requestIdleCallback ?? setTimeout)(() => import("/_foredraft/static/answer.js"));
    if (matchMedia("(min-width: 56.3125em)").matches) this.$refs.text.focus({ preventScroll: true });
    // Anywhere on the page: a file dropped beside the box must not make the browser leave the page.
    document.addEventListener("dragover", this.dragged);
    document.addEventListener("dragleave", this.left);
    document.addEventListener("drop", this.dropped);
  },
  unmounted() {
    document.removeEventListener("dragover", this.dragged);
    document.removeEventListener("dragleave", this.left);
    document.removeEventListener("drop", this.dropped);
  },
  watch: {
    chat() {
      this.text = this.keptText();
      this.files = this.keptFiles();
      this.problem = "";
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
    keptText() {
      // What the server could not be told (it was away) is newer than what it has.
      return sessionStorage.getItem(`fd-text:${this.chat}`) ?? (this.unsent || "");
    },
    async keep() {
      if (this.text.length > 200_000) return;
      const key = `fd-text:${this.chat}`;
      const body = JSON.stringify({ chat: this.chat, text: this.text });
      try {
        const answer = await fetch("/_foredraft/unsent", { method: "POST", body });
        if (!answer.ok) throw new Error(answer.statusText);
        sessionStorage.removeItem(key);
      } catch {
        try {
          sessionStorage.setItem(key, JSON.parse(body).text);
        } catch {
          sessionStorage.removeItem(key); // no room: the text lives as long as the page does
        }
      }
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

    // ---- files ----

    about(file) {
      return `${size(file.size)} · ${this.words.tokens.replace("{n}", file.tokens.toLocaleString())}`;
    },
    keptFiles() {
      // Not sent yet: they survive a reload of this tab.
      try {
        return JSON.parse(sessionStorage.getItem(`fd-files:${this.chat}`)) || [];
      } catch {
        return [];
      }
    },
    keepFiles() {
      const key = `fd-files:${this.chat}`;
      try {
        if (this.files.length) sessionStorage.setItem(key, JSON.stringify(this.files));
        else sessionStorage.removeItem(key);
      } catch {
        sessionStorage.removeItem(key); // too large for the browser's store: they live as long as the page does
      }
    },
    async picked(event) {
      const chosen = [...event.target.files];
      event.target.value = ""; // the same file may be chosen again
      await this.attach(chosen);
    },
    paste(event) {
      const data = event.clipboardData;
      // Spreadsheets put a picture beside the text: the text is meant.
      if (!data.files.length || data.types.includes("text/plain")) return;
      event.preventDefault();
      this.attach([...data.files]);
    },
    dragged(event) {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      this.dropping = !document.querySelector(".q-dialog");
    },
    left(event) {
      if (!event.relatedTarget) this.dropping = false; // out of the window
    },
    dropped(event) {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      const meant = this.dropping;
      this.dropping = false;
      if (meant) this.attach([...event.dataTransfer.files]);
    },
    async attach(chosen) {
      this.problem = "";
      const problems = [];
      for (const file of chosen) {
        this.reading += 1;
        try {
          const content = await file.arrayBuffer().catch(() => {
            throw new Error(this.words.unreadable.replace("{name}", file.name)); // a folder, say
          });
          const about = new URLSearchParams({ name: file.name, chat: this.chat, pending: this.pending });
          this.files.push(await this.asked(`/_foredraft/attach?${about}`, content));
        } catch (error) {
          problems.push(error instanceof TypeError ? this.words.gone : error.message);
        } finally {
          this.reading -= 1;
        }
      }
      this.problem = problems.join(" ");
      this.keepFiles();
      this.$refs.text.focus();
      const wanted = this.wanted;
      this.wanted = false;
      if (wanted && !this.problem) this.send();
    },
    remove(number) {
      this.files.splice(number, 1);
      this.problem = "";
      this.keepFiles();
      this.$refs.text.focus();
    },

    // ---- sending ----

    async asked(address, body) {
      // What the server answers. Raises its words, or a TypeError when it is away.
      const answer = await fetch(address, { method: "POST", body });
      const result = await answer.json();
      if (result.error) throw new Error(result.error.message || result.error);
      return result;
    },
    async send() {
      const text = this.text.trim();
      this.wanted = this.reading > 0; // Enter came before the files were read: it is sent then
      if (!this.sendable || text.length > LONGEST) return;
      clearTimeout(this.timer);
      this.problem = "";
      try {
        const body = { chat: this.chat, text, attachments: this.files, page: this.words.page };
        const result = await this.asked("/_foredraft/send", JSON.stringify(body));
        this.text = "";
        this.files = [];
        this.keepFiles();
        sessionStorage.removeItem(`fd-text:${body.chat}`);
        this.$nextTick(this.fit);
        this.$emit("sent", result.chat);
      } catch (error) {
        this.problem = error instanceof TypeError ? this.words.gone : error.message;
        this.keep();
      }
    },
  },
};
