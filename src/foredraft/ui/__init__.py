"""The chat app: NiceGUI pages on the server's own application. Import `foredraft.ui.app` late: it is heavy."""
